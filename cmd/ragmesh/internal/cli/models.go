package cli

import (
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/spf13/cobra"

	"github.com/ragmesh/ragmesh/cmd/ragmesh/internal/client"
	"github.com/ragmesh/ragmesh/cmd/ragmesh/internal/wire"
	llmv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/llm/v1"
)

func (a *app) models() *cobra.Command {
	c := &cobra.Command{Use: "models", Short: "List models, and try those that run in this process"}
	c.AddCommand(a.modelsList(), a.modelsCheck(), a.modelsBench())
	return c
}

func (a *app) modelsList() *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List the configured models, what they are for and whether they are asked",
		Args:  cobra.NoArgs,
		RunE: a.online(func(ctx context.Context, c *client.Client, _ []string) error {
			resp, err := c.Models.ListModels(ctx, &llmv1.ListModelsRequest{})
			if err != nil {
				return err
			}
			if a.json {
				return a.out.message(resp)
			}
			defaults := []string{resp.GetDefaultModel(), resp.GetDefaultEmbeddingModel(), resp.GetDefaultRerankModel()}
			rows := make([][]string, 0, len(resp.GetModels()))
			for _, m := range resp.GetModels() {
				kind := max(0, int(m.GetKind())-1)
				name := m.GetName()
				if kind < len(defaults) && defaults[kind] == name {
					name += " (default)"
				}
				rows = append(rows, []string{name, strings.ToLower(strings.TrimPrefix(m.GetKind().String(), "MODEL_KIND_")), targets(m)})
			}
			a.out.table([]string{"MODEL", "FOR", "ASKS"}, rows)
			return nil
		}),
	}
}

// targets says what a model's route asks, in order, and what of it is left alone.
func targets(m *llmv1.Model) string {
	if len(m.GetTargets()) == 0 {
		return m.GetProvider() + "/" + m.GetProviderModel()
	}
	out := make([]string, 0, len(m.GetTargets()))
	for _, t := range m.GetTargets() {
		s := t.GetProvider() + "/" + t.GetProviderModel()
		switch t.GetState() {
		case llmv1.TargetState_TARGET_STATE_OPEN:
			s += " (failing, left alone)"
		case llmv1.TargetState_TARGET_STATE_HALF_OPEN:
			s += " (failing, being tried)"
		}
		out = append(out, s)
	}
	return strings.Join(out, ", then ")
}

// getModels says where models come from.
const getModels = `Small models with open licences, as folders (docs/local-models.md compares them):

  sentence-transformers/all-MiniLM-L6-v2      English      90 MB   Apache-2.0
  BAAI/bge-small-zh-v1.5                      Chinese      96 MB   MIT
  intfloat/multilingual-e5-small              100 languages 470 MB MIT
  cross-encoder/ms-marco-MiniLM-L6-v2         English, reranks 90 MB Apache-2.0

With curl, or with pip install huggingface_hub:

  hf download sentence-transformers/all-MiniLM-L6-v2 --local-dir models/all-MiniLM-L6-v2 \
    --include "*.json" "model.safetensors" "1_Pooling/*"
  ragmesh models check models/all-MiniLM-L6-v2
  ragmesh up --embedding-model models/all-MiniLM-L6-v2`

func (a *app) modelsCheck() *cobra.Command {
	var sum string
	c := &cobra.Command{
		Use:     "check FOLDER [DOCUMENT...]",
		Short:   "Open a model's folder, and say what it is, which languages it reads and whether it works",
		Long:    "Open a model's folder as the gateway would, and say what it is, which languages it reads and whether it works.\nWith text files, say how much of them the model has no tokens for. No server is needed.\n\n" + getModels,
		Example: "  ragmesh models check models/all-MiniLM-L6-v2 --sha256 53aa5117...",
		Args:    cobra.MinimumNArgs(1),
	}
	c.RunE = func(cmd *cobra.Command, args []string) error {
		m, err := wire.OpenModel(args[0])
		if err != nil {
			return err
		}
		defer m.Close()
		if sum != "" && !strings.EqualFold(sum, m.Facts.SHA256) {
			return fmt.Errorf("the weights have SHA-256 %s, not %s: the file is damaged, or another model", m.Facts.SHA256, sum)
		}
		report, err := examine(cmd.Context(), m, args[1:])
		if err != nil {
			return err
		}
		if a.json {
			return a.out.value(report)
		}
		a.showModel(args[0], report)
		return nil
	}
	c.Flags().StringVar(&sum, "sha256", "", "SHA-256 that the weights must have, as their publisher states it")
	return c
}

// modelReport is what `models check --json` prints.
type modelReport struct {
	Facts wire.ModelFacts `json:"model"`
	// Unknown is the share of tokens that the model has nothing for, by language and by document. Spelt are the languages whose
	// words it only knows letter by letter, which means as little to it.
	Unknown   map[string]float64 `json:"unknown"`
	Spelt     []string           `json:"spelt,omitempty"`
	Documents map[string]float64 `json:"documents,omitempty"`
	// Near and Far are the similarities of a question to a passage that answers it, and to another one, in a language it reads.
	Language string  `json:"language"`
	Near     float64 `json:"near"`
	Far      float64 `json:"far"`
}

// sample is a question, a passage that answers it and one that does not.
type sample struct{ language, question, near, far string }

func samples() []sample {
	return []sample{
		{"English", "How do I reset my password?", "Open the settings and choose a new password; the old one stops working at once.", "The museum is closed on Mondays and on public holidays."},
		{"Chinese", "怎么重置密码？", "打开设置，选择新的密码，旧密码会立即失效。", "博物馆每逢星期一和公共假日闭馆。"},
		{"German", "Wie setze ich mein Passwort zurück?", "Öffnen Sie die Einstellungen und wählen Sie ein neues Passwort; das alte gilt sofort nicht mehr.", "Das Museum ist montags und an Feiertagen geschlossen."},
		{"French", "Comment réinitialiser mon mot de passe ?", "Ouvrez les paramètres et choisissez un nouveau mot de passe.", "Le musée est fermé le lundi et les jours fériés."},
		{"Spanish", "¿Cómo restablezco mi contraseña?", "Abra los ajustes y elija una contraseña nueva.", "El museo cierra los lunes y los días festivos."},
		{"Russian", "Как сбросить пароль?", "Откройте настройки и выберите новый пароль.", "Музей закрыт по понедельникам и в праздничные дни."},
		{"Japanese", "パスワードを再設定するには？", "設定を開き、新しいパスワードを選んでください。", "博物館は月曜日と祝日に休館します。"},
		{"Korean", "비밀번호를 어떻게 재설정하나요?", "설정을 열고 새 비밀번호를 선택하세요.", "박물관은 월요일과 공휴일에 문을 닫습니다."},
		{"Arabic", "كيف أعيد تعيين كلمة المرور؟", "افتح الإعدادات واختر كلمة مرور جديدة.", "المتحف مغلق يوم الاثنين وفي العطل الرسمية."},
	}
}

// maxSampled bounds what is read of a document.
const maxSampled = 1 << 20

func examine(ctx context.Context, m *wire.Model, documents []string) (modelReport, error) {
	report := modelReport{Facts: m.Facts, Unknown: map[string]float64{}}
	best := 2.0
	var tried sample
	for _, s := range samples() {
		text := s.question + " " + s.near + " " + s.far
		share := m.Unknown(text)
		report.Unknown[s.language] = share
		if spelt(text, m.Tokens(text)) {
			report.Spelt = append(report.Spelt, s.language)
		}
		if share < best {
			best, tried = share, s
		}
	}
	for _, path := range documents {
		text, err := readSome(path)
		if err != nil {
			return report, err
		}
		if report.Documents == nil {
			report.Documents = map[string]float64{}
		}
		report.Documents[path] = m.Unknown(text)
	}
	var err error
	report.Language = tried.language
	if report.Near, err = m.Similarity(ctx, tried.question, tried.near); err != nil {
		return report, err
	}
	if report.Far, err = m.Similarity(ctx, tried.question, tried.far); err != nil {
		return report, err
	}
	return report, nil
}

// spelt says whether a text of words was cut into little more than its letters. Chinese and Japanese have no such words.
func spelt(text string, tokens int) bool {
	letters := 0
	for _, r := range text {
		if unicode.In(r, unicode.Han, unicode.Hiragana, unicode.Katakana) {
			return false
		}
		if unicode.IsLetter(r) {
			letters++
		}
	}
	return tokens*2 > letters
}

func readSome(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }()
	text, err := io.ReadAll(io.LimitReader(f, maxSampled))
	if err != nil {
		return "", fmt.Errorf("read %s: %w", path, err)
	}
	return strings.ToValidUTF8(string(text), ""), nil
}

// unreadable is the share of unknown tokens from which on a model's vectors say little.
const unreadable = 0.05

func (a *app) showModel(folder string, r modelReport) {
	name := filepath.Base(filepath.Clean(folder))
	what := fmt.Sprintf("makes vectors of %d dimensions (%s of the tokens)", r.Facts.Dimensions, r.Facts.Pooling)
	if r.Facts.Reranker {
		what = "scores passages against a question"
	}
	a.out.printf("%s %s, of texts of up to %d tokens\n", name, what, r.Facts.MaxTokens)
	a.out.printf("  sha256    %s\n  revision  %s\n  runs on   %s, opened in %d ms\n", r.Facts.SHA256, r.Facts.Revision[:min(16, len(r.Facts.Revision))], r.Facts.Kernels, r.Facts.Load.Milliseconds())
	if r.Facts.QueryPrefix+r.Facts.PassagePrefix != "" {
		a.out.printf("  prefixes  %q for questions, %q for passages\n", r.Facts.QueryPrefix, r.Facts.PassagePrefix)
	}
	row := func(name string, share float64) {
		mark, why := a.out.style(green, "✓"), ""
		if slices.Contains(r.Spelt, name) {
			mark, why = a.out.style(red, "✗"), ", the words read letter by letter"
		}
		if share > unreadable {
			mark = a.out.style(red, "✗")
		}
		a.out.printf("  %s %-10s %3.0f %% of the tokens unknown%s\n", mark, name, 100*share, why)
	}
	for _, s := range samples() {
		row(s.language, r.Unknown[s.language])
	}
	for _, path := range slices.Sorted(maps.Keys(r.Documents)) {
		row(oneLine(path, 60), r.Documents[path])
	}
	verdict := a.out.style(green, "works")
	if r.Near <= r.Far {
		verdict = a.out.style(red, "does not work")
	}
	a.out.printf("%s in %s: a question is %.2f near a passage that answers it, and %.2f near another one\n", verdict, r.Language, r.Near, r.Far)
}

func (a *app) modelsBench() *cobra.Command {
	var each time.Duration
	c := &cobra.Command{
		Use:   "bench FOLDER",
		Short: "Measure how fast a model is on this machine",
		Args:  cobra.ExactArgs(1),
	}
	c.RunE = func(cmd *cobra.Command, args []string) error {
		m, err := wire.OpenModel(args[0])
		if err != nil {
			return err
		}
		defer m.Close()
		var all []modelSpeed
		for _, shape := range [][2]int{{1, 16}, {1, 128}, {32, 128}} {
			s, err := speed(cmd.Context(), m, shape[0], shape[1], each)
			if err != nil {
				return err
			}
			all = append(all, s)
		}
		if a.json {
			return a.out.value(all)
		}
		rows := make([][]string, 0, len(all))
		for _, s := range all {
			rows = append(rows, []string{fmt.Sprint(s.Texts), fmt.Sprint(s.Tokens), fmt.Sprintf("%.1f ms", s.Milliseconds), fmt.Sprintf("%.0f", s.TokensPerSecond)})
		}
		a.out.table([]string{"TEXTS", "TOKENS EACH", "MEAN", "TOKENS/S"}, rows)
		return nil
	}
	c.Flags().DurationVar(&each, "each", 2*time.Second, "how long each row is measured")
	return c
}

// modelSpeed is a row of `models bench --json`.
type modelSpeed struct {
	Texts           int     `json:"texts"`
	Tokens          int     `json:"tokens_each"`
	Milliseconds    float64 `json:"mean_ms"`
	TokensPerSecond float64 `json:"tokens_per_second"`
}

// speed calls a model with so many texts of about so many tokens, again and again.
func speed(ctx context.Context, m *wire.Model, texts, tokens int, each time.Duration) (modelSpeed, error) {
	text := "one"
	for m.Tokens(text) < min(tokens, m.Facts.MaxTokens)-2 {
		text += " and one"
	}
	batch := make([]string, texts)
	for i := range batch {
		batch[i] = text
	}
	if _, err := m.Run(ctx, batch); err != nil { // the first call makes room
		return modelSpeed{}, err
	}
	calls, read, began := 0, 0, time.Now()
	for calls == 0 || time.Since(began) < each {
		n, err := m.Run(ctx, batch)
		if err != nil {
			return modelSpeed{}, err
		}
		calls, read = calls+1, read+n
	}
	took := time.Since(began).Seconds()
	return modelSpeed{Texts: texts, Tokens: read / calls / texts, Milliseconds: 1000 * took / float64(calls), TokensPerSecond: float64(read) / took}, nil
}
