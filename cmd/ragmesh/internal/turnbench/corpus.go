package turnbench

import (
	"fmt"
	"math/rand/v2"
	"strings"

	"github.com/ragmesh/ragmesh/cmd/ragmesh/internal/ingest"
)

// Corpus is what is asked about, and what is asked.
type Corpus struct {
	Items     []ingest.Item
	Questions []string
}

// The parts that documents are made of.
var (
	adjectives = []string{
		"Amber", "Brisk", "Cobalt", "Dusky", "Ember", "Frosty", "Gilded", "Hollow", "Ivory", "Jade", "Keen", "Lunar", "Mellow",
		"Nimble", "Opal", "Polar", "Quiet", "Russet", "Silver", "Tidal", "Umber", "Velvet", "Woven", "Young", "Zephyr",
	}
	nouns = []string{
		"Anchor", "Beacon", "Comet", "Drift", "Engine", "Falcon", "Garden", "Harbor", "Island", "Jigsaw", "Kettle", "Ledger",
		"Mirror", "Nettle", "Orchard", "Parcel", "Quarry", "Ribbon", "Saddle", "Tunnel",
	}
	subjects = []string{
		"the operator", "a new team", "the night shift", "the review board", "an external auditor", "the scheduler", "the on-call engineer",
		"a regional office", "the billing desk", "the release manager", "the storage group", "a customer",
	}
	verbs = []string{
		"checks", "rotates", "exports", "approves", "archives", "compares", "restores", "forwards", "labels", "schedules", "inspects", "signs",
	}
	objects = []string{
		"the weekly report", "every certificate", "the access list", "old snapshots", "the incident log", "pending invoices",
		"the capacity plan", "failed deliveries", "the change request", "the retention policy", "the test results", "the shipping label",
	}
	settings = []string{
		"before the end of the month", "after each maintenance window", "when the quota is nearly used up", "in the order they arrived",
		"unless the region is being migrated", "together with the platform group", "from the shared console", "without stopping traffic",
		"as the handbook describes", "once the second reviewer agrees",
	}
)

// fact is something a document says once and a question asks for.
type fact struct{ heading, sentence, question string }

// facts are a section each. The first %s is the subject's name, the second a number.
var facts = []fact{
	{"Backups", "The %s keeps its backups for %s days.", "How many days does the %s keep its backups?"},
	{"Requests", "The %s accepts at most %s requests per second.", "How many requests per second does the %s accept at most?"},
	{"Timeouts", "A session of the %s ends after %s minutes of silence.", "After how many minutes of silence does a session of the %s end?"},
	{"Cost", "A seat in the %s costs %s dollars a month.", "How much does a seat in the %s cost a month?"},
	{"Team", "The %s is looked after by %s engineers.", "How many engineers look after the %s?"},
}

// Generate makes a corpus of documents in Markdown, each about a subject of its own, with a question for every fact. The same
// seed gives the same corpus.
func Generate(documents int, seed uint64) Corpus {
	chance := rand.New(rand.NewPCG(seed, uint64(documents))) //nolint:gosec // repeatable on purpose
	pick := func(from []string) string { return from[chance.IntN(len(from))] }
	var c Corpus
	for i := range documents {
		name := fmt.Sprintf("%s %s", adjectives[i%len(adjectives)], nouns[i/len(adjectives)%len(nouns)])
		if series := i / (len(adjectives) * len(nouns)); series > 0 {
			name = fmt.Sprintf("%s %d", name, series+1)
		}
		var b strings.Builder
		fmt.Fprintf(&b, "# %s\n", name)
		for _, f := range facts {
			fmt.Fprintf(&b, "\n## %s\n\n", f.heading)
			at := chance.IntN(8)
			for k := range 8 {
				if k == at {
					fmt.Fprintf(&b, f.sentence+" ", name, fmt.Sprint(2+chance.IntN(400)))
				}
				subject := pick(subjects)
				fmt.Fprintf(&b, "%s%s %s %s %s. ", strings.ToUpper(subject[:1]), subject[1:], pick(verbs), pick(objects), pick(settings))
			}
			b.WriteString("\n")
			c.Questions = append(c.Questions, fmt.Sprintf(f.question, name))
		}
		item := ingest.Text(fmt.Sprintf("bench/%04d.md", i), name, b.String())
		item.ContentType = "text/markdown"
		c.Items = append(c.Items, item)
	}
	chance.Shuffle(len(c.Questions), func(i, j int) { c.Questions[i], c.Questions[j] = c.Questions[j], c.Questions[i] })
	return c
}
