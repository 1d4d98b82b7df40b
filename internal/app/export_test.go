package app

// Changes hints that something of the default tenant was committed.
func (a *App) Changes() (<-chan struct{}, func()) { return a.hub.Subscribe(a.Tenant()) }
