package access

import "time"

// Retentions returns the workspaces, each with how long it keeps sessions; 0 where it does not say. Those that are being deleted
// are none.
func (w *Workspaces) Retentions() map[string]time.Duration {
	w.mu.RLock()
	defer w.mu.RUnlock()
	out := map[string]time.Duration{DefaultWorkspace: 0}
	for id, ws := range w.known {
		if !ws.Deleting() {
			out[id] = ws.SessionRetention
		}
	}
	return out
}
