package main

import (
	"fmt"
	"os"
	"time"
)

// writeActing writes the configuration in which every new case acts on the
// sink by a webhook.
func writeActing(dir, config, sink string) error {
	return os.WriteFile(config, []byte(fmt.Sprintf("# sink %s\n", sink)), 0o600)
}

// settleEffects waits until the product has no effect left to do.
func settleEffects(p *process) {
	time.Sleep(300 * time.Millisecond)
}
