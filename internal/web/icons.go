package web

// iconPath is the outline of a symbol on a grid of 16 × 16, drawn with a
// stroke. An unknown name draws nothing.
func iconPath(name string) string {
	switch name {
	case "circle":
		return "M8 2.5a5.5 5.5 0 1 0 0 11a5.5 5.5 0 0 0 0-11z"
	case "gear":
		return "M3 4h10M3 8h10M3 12h6"
	case "hand":
		return "M6 7.5a2.5 2.5 0 1 0 0-5a2.5 2.5 0 0 0 0 5zM1.6 13.5c.3-2.6 2.1-4 4.4-4s4.1 1.4 4.4 4M10.4 6.8l1.6 1.6l2.7-3"
	case "pause":
		return "M5.5 3.5v9M10.5 3.5v9"
	case "bolt":
		return "M9 1.8L3.5 9H8l-1 5.2L12.5 7H8z"
	case "question":
		return "M5.6 6a2.4 2.4 0 1 1 3.4 2.2c-.8.4-1 .8-1 1.6M8 12.4v.01"
	case "eye":
		return "M1.5 8s2.4-4.5 6.5-4.5S14.5 8 14.5 8s-2.4 4.5-6.5 4.5S1.5 8 1.5 8zM8 10a2 2 0 1 0 0-4a2 2 0 0 0 0 4z"
	case "undo":
		return "M5.5 3L2.5 6l3 3M2.5 6h7a3.8 3.8 0 0 1 0 7.6H6"
	case "shield":
		return "M8 1.8l5 1.8v4c0 3.2-2.1 5.4-5 6.6c-2.9-1.2-5-3.4-5-6.6v-4zM5.7 8l1.6 1.6l3-3.1"
	case "clock":
		return "M8 2.2a5.8 5.8 0 1 0 0 11.6A5.8 5.8 0 0 0 8 2.2zM8 5v3.2l2.2 1.4"
	case "mute":
		return "M2 2l12 12M4 10.8h6.8M4 10.8c.8-.9 1.1-1.9 1.1-3.8M6.4 4.4a2.9 2.9 0 0 1 4.5 2.6c0 1 .1 1.6.4 2.3M7 13a1.2 1.2 0 0 0 2 0"
	case "merge":
		return "M4 2.5v3.6C4 9 8 8.6 8 12M12 2.5v3.6C12 9 8 8.6 8 12v2"
	case "check":
		return "M3 8.5l3.2 3.2L13 4.8"
	case "cross":
		return "M4 4l8 8M12 4l-8 8"
	case "pen":
		return "M10.5 3l2.5 2.5L6 12.5l-3 .5l.5-3z"
	case "ticket":
		return "M2.5 4.8v1.9a1.3 1.3 0 0 1 0 2.6v1.9h11V9.3a1.3 1.3 0 0 1 0-2.6V4.8zM9.6 4.8v6.4"
	case "siren":
		return "M4 12V8.5a4 4 0 0 1 8 0V12M2.5 12.2h11M8 2.2V1.2M3.2 4l-.8-.8M12.8 4l.8-.8"
	case "open":
		return "M3 2.5h5v11H3zM8 2.5l5.2 2v8L8 13.5M3 8h5"
	case "shut":
		return "M3 2.5h10v11H3zM8 2.5v11M3 8h10"
	case "link":
		return "M6.5 9.5l3-3M7 5l1.2-1.2a2.6 2.6 0 0 1 3.8 3.8L10.8 8.8M9 11l-1.2 1.2a2.6 2.6 0 0 1-3.8-3.8L5.2 7.2"
	case "scale":
		return "M8 2v11.5M4.5 13.5h7M3 4.5h10M3 4.5L1.5 9h3zM13 4.5L11.5 9h3z"
	case "person":
		return "M8 8a2.8 2.8 0 1 0 0-5.6A2.8 2.8 0 0 0 8 8zM2.8 14c.4-3 2.4-4.4 5.2-4.4s4.8 1.4 5.2 4.4"
	case "bell":
		return "M4 10.8h8c-.9-1-1.1-2-1.1-3.8a2.9 2.9 0 0 0-5.8 0c0 1.8-.2 2.8-1.1 3.8zM7 13a1.2 1.2 0 0 0 2 0"
	case "plus":
		return "M8 3.5v9M3.5 8h9"
	case "search":
		return "M7 2.8a4.2 4.2 0 1 0 0 8.4a4.2 4.2 0 0 0 0-8.4zM10.2 10.2l3.3 3.3"
	case "arrow":
		return "M3 8h9.5M9 4.5L12.5 8L9 11.5"
	}
	return ""
}
