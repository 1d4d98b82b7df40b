// Package targets starts real servers for tests and puts each connector before
// one: a Bench of the conformance suite whose object is in the risky state.
//
// It may import the connectors, connectortest and testing. Invariants: servers
// listen on free loopback ports, or in network namespaces made for the test,
// and end with it; a server that is not here skips the test and says so.
package targets
