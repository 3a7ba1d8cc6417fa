package settings

import (
	"fmt"
	"io"

	"github.com/ragmesh/ragmesh/libs/process"
	"github.com/ragmesh/ragmesh/services/dialog"
	"github.com/ragmesh/ragmesh/services/eval"
	llmgateway "github.com/ragmesh/ragmesh/services/llm-gateway"
	"github.com/ragmesh/ragmesh/services/retriever"
	"github.com/ragmesh/ragmesh/services/tools"
)

//go:generate go run ./reference ../../../../docs/config.md

const referenceHead = `# Configuration reference

Generated from the code by ` + "`make generate`" + `; do not edit.

` + "`--config DIR`" + ` names a folder with one file per service and the folders ` + "`prompts/`, `retrieval/` and `tools/`" + `; all may be missing. Later layers win:
defaults, files, environment (` + "`RAGMESH_<SERVICE>__<SECTION>__<KEY>`" + `), flags. In the all-in-one, ` + "`--set`" + ` takes the service's name in front:
` + "`--set retriever.index.max_open=16`" + `.

A key that is not listed here is refused, with its file and line and what is allowed. Lists replace the default's, tables are merged by name, and ` + "`null`" + `
takes an entry of a table away. A duration has its unit (` + "`500ms`, `2s`, `1h30m`, `7d`" + `), a size too (` + "`64KiB`, `100MiB`" + `). A secret is a reference,
` + "`{env: NAME}` or `{file: /path}`" + `, never a value. ` + "`ragmesh config check --config DIR`" + ` says what is wrong, ` + "`config show`" + ` what is in effect, ` + "`config diff`" + ` what
changed.

Keys whose change is *live*, and everything in ` + "`prompts/`, `retrieval/` and `tools/`" + `, take effect within seconds of a change of the files: a request under way ends with
what it began with, and the revision in answers follows. A file is taken once it has been the same for a second; replacing it by renaming is safest. Mounted
ConfigMaps work (not with ` + "`subPath`" + `, which Kubernetes never updates). A change that is not good changes nothing: the last good configuration stays in use, and the log, the metric ` + "`ragmesh_<service>_config_reload_failures_total`" + ` and the row ` + "`config`" + ` of
` + "`/health/ready`" + ` (still 200) say what is wrong with it. Changed keys that need a *restart* are named in the same row and wait. Environment and flags are read at the
start.
`

// Reference writes the page with every key of every file, docs/config.md.
func Reference(w io.Writer) error {
	if _, err := io.WriteString(w, referenceHead); err != nil {
		return fmt.Errorf("write reference: %w", err)
	}
	for _, part := range []func(io.Writer) error{
		process.Reference, dialog.Reference, retriever.Reference, tools.Reference, llmgateway.Reference, eval.Reference,
	} {
		if _, err := io.WriteString(w, "\n"); err != nil {
			return fmt.Errorf("write reference: %w", err)
		}
		if err := part(w); err != nil {
			return err
		}
	}
	return nil
}
