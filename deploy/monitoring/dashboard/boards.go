package dashboard

import (
	"fmt"
	"strings"
)

// Boards returns the dashboards by file name.
func Boards() map[string]Board {
	return map[string]Board{"overview": overview(), "services": services(), "llm": llm(), "ingestion": ingestion(), "messaging": messaging()}
}

// query fills in what every query has: NS is the namespace, SVC that and the services, RATE the range of rates.
func query(expr, legend string) Query {
	return Query{Expr: strings.NewReplacer(
		"SVC", `namespace=~"$namespace", ragmesh_service=~"$service"`, "NS", `namespace=~"$namespace"`, "RATE", "[$__rate_interval]",
	).Replace(expr), Legend: legend}
}

// quantiles asks for quantiles of a histogram's buckets, by labels. Without a selector, metric is a whole one.
func quantiles(metric, selector, by, legend string, qs ...float64) []Query {
	var out []Query
	for _, q := range qs {
		name := fmt.Sprintf("p%g", q*100)
		if legend != "" {
			name += " " + legend
		}
		labels := "le"
		if by != "" {
			labels += ", " + by
		}
		series := metric
		if selector != "" {
			series += "{" + selector + "}"
		}
		out = append(out, query(fmt.Sprintf(`histogram_quantile(%g, sum by (%s) (rate(%sRATE)))`, q, labels, series), name))
	}
	return out
}

func overview() Board {
	const good = `1 - (sum(increase(ragmesh_dialog_turns_total{outcome="failed", NS}[1h])) + sum(increase(ragmesh_dialog_turns_total{outcome="abstained", degraded="yes", NS}[1h]))) / (sum(increase(ragmesh_dialog_turns_total{outcome!="interrupted", NS}[1h])) > 0)`
	return Board{
		UID: "ragmesh-overview", Title: "ragmesh / Where a turn's time goes",
		Description: "Turns as people see them: how many, how they end, how long they take and in which stage.",
		Rows: []Row{
			{Title: "Now", Panels: []Panel{
				{Kind: Stat, Title: "Turns a minute", Unit: "short", Queries: []Query{query(`60 * sum(rate(ragmesh_dialog_turns_total{NS}[5m]))`, "")}},
				{
					Kind: Stat, Title: "Good turns, 1 h", Unit: "percentunit", Warn: .998, Bad: .995, Queries: []Query{query(good, "")},
					Description: "Answered, or declined with every stage there. The objective is 99.5 %.",
				},
				{
					Kind: Stat, Title: "Degraded turns, 5 min", Unit: "percentunit", Warn: .01, Bad: .05,
					Queries: []Query{query(`sum(rate(ragmesh_dialog_turns_total{degraded="yes", NS}[5m])) / (sum(rate(ragmesh_dialog_turns_total{NS}[5m])) > 0)`, "")},
				},
				{
					Kind: Stat, Title: "p99 before the model", Unit: "s", Warn: .5, Bad: 1, Description: "What ragmesh adds before the model is asked.",
					Queries: []Query{query(`histogram_quantile(0.99, sum by (le) (rate(ragmesh_dialog_time_to_model_seconds_bucket{NS}[5m])))`, "")},
				},
				{
					Kind: Stat, Title: "p99 first token", Unit: "s", Warn: 5, Bad: 10,
					Queries: []Query{query(`histogram_quantile(0.99, sum by (le) (rate(ragmesh_dialog_time_to_first_token_seconds_bucket{NS}[5m])))`, "")},
				},
				{Kind: Stat, Title: "Turns in the spool", Unit: "short", Warn: 1, Bad: 1000, Queries: []Query{query(`sum(ragmesh_dialog_spooled_turns{NS})`, "")}},
			}},
			{Title: "Time", Panels: []Panel{
				{
					Kind: Lines, Title: "Where a turn's time goes: mean per turn, by stage", Unit: "s", Width: 12, Stack: true,
					Description: "Seconds of each stage per turn. retrieve and tools run at the same time, so the sum may be above the turn's own mean.",
					Queries:     []Query{query(`sum by (stage) (rate(ragmesh_dialog_stage_duration_seconds_sum{NS}RATE)) / ignoring (stage) group_left () sum(rate(ragmesh_dialog_turn_duration_seconds_count{NS}RATE))`, "{{stage}}")},
				},
				{Kind: Lines, Title: "p99 by stage", Unit: "s", Width: 12, Queries: quantiles("ragmesh_dialog_stage_duration_seconds_bucket", "NS", "stage", "{{stage}}", .99)},
				{Kind: Lines, Title: "Whole turn", Unit: "s", Queries: quantiles("ragmesh_dialog_turn_duration_seconds_bucket", "NS", "", "", .5, .95, .99)},
				{Kind: Lines, Title: "First token", Unit: "s", Queries: quantiles("ragmesh_dialog_time_to_first_token_seconds_bucket", "NS", "", "", .5, .95, .99)},
				{Kind: Lines, Title: "Until the model is asked", Unit: "s", Queries: quantiles("ragmesh_dialog_time_to_model_seconds_bucket", "NS", "", "", .5, .95, .99)},
			}},
			{Title: "Outcome", Panels: []Panel{
				{Kind: Lines, Title: "Turns by outcome", Unit: "reqps", Stack: true, Queries: []Query{query(`sum by (outcome) (rate(ragmesh_dialog_turns_total{NS}RATE))`, "{{outcome}}")}},
				{
					Kind: Lines, Title: "Degradations by stage and reason", Unit: "cps", Stack: true,
					Queries: []Query{query(`sum by (stage, reason) (rate(ragmesh_dialog_degradations_total{NS}RATE))`, "{{stage}}: {{reason}}")},
				},
				{Kind: Lines, Title: "Stages that were not ok", Unit: "cps", Stack: true, Queries: []Query{query(`sum by (stage, status) (rate(ragmesh_dialog_stage_duration_seconds_count{status!="ok", NS}RATE)) or vector(0)`, "{{stage}} {{status}}")}},
				{Kind: Lines, Title: "Citations by support", Unit: "cps", Stack: true, Queries: []Query{query(`sum by (support) (rate(ragmesh_dialog_citations_total{NS}RATE))`, "{{support}}")}},
				{Kind: Lines, Title: "Declined, by who decided", Unit: "cps", Stack: true, Queries: []Query{query(`sum by (by) (rate(ragmesh_dialog_abstentions_total{NS}RATE))`, "{{by}}")}},
				{Kind: Lines, Title: "Turns under way", Unit: "short", Queries: []Query{query(`sum(ragmesh_dialog_turns_running{NS})`, "running"), query(`sum(ragmesh_dialog_spooled_turns{NS})`, "in the spool")}},
			}},
			{Title: "Tools", Panels: []Panel{
				{Kind: Lines, Title: "Calls by tool", Unit: "reqps", Width: 12, Queries: []Query{query(`sum by (tool, outcome) (rate(ragmesh_tools_call_duration_seconds_count{NS}RATE))`, "{{tool}} {{outcome}}")}},
				{Kind: Lines, Title: "p95 by tool", Unit: "s", Width: 12, Queries: quantiles("ragmesh_tools_call_duration_seconds_bucket", "NS", "tool", "{{tool}}", .95)},
			}},
		},
	}
}

func services() Board {
	const errors = `code=~"unknown|deadline_exceeded|internal|unavailable|data_loss|unimplemented"`
	mine := func(expr string) string {
		return expr + ` and on (job, instance) {__name__=~"ragmesh_.+_build_info", SVC}`
	}
	return Board{
		UID: "ragmesh-services", Title: "ragmesh / Services", Services: true,
		Description: "Rate, errors and duration of every service's calls, its probes, and what its process uses.",
		Rows: []Row{
			{Title: "Calls", Panels: []Panel{
				{Kind: Lines, Title: "Calls", Unit: "reqps", Queries: []Query{query(`sum by (ragmesh_service) (rate({__name__=~"ragmesh_.+_rpc_duration_seconds_count", SVC}RATE))`, "{{ragmesh_service}}")}},
				{
					Kind: Lines, Title: "Errors", Unit: "percentunit", Description: "Codes that Linkerd counts as failures too; what callers did wrong is none.",
					Queries: []Query{query(`(sum by (ragmesh_service) (rate({__name__=~"ragmesh_.+_rpc_duration_seconds_count", `+errors+`, SVC}RATE)) or 0 * sum by (ragmesh_service) (rate({__name__=~"ragmesh_.+_rpc_duration_seconds_count", SVC}RATE))) / sum by (ragmesh_service) (rate({__name__=~"ragmesh_.+_rpc_duration_seconds_count", SVC}RATE))`, "{{ragmesh_service}}")},
				},
				{Kind: Lines, Title: "p99, streams not counted", Unit: "s", Queries: quantiles(`{__name__=~"ragmesh_.+_rpc_duration_seconds_bucket", type="unary", SVC}`, "", "ragmesh_service", "{{ragmesh_service}}", .99)},
				{Kind: Lines, Title: "Calls by procedure", Unit: "reqps", Width: 12, Queries: []Query{query(`sum by (procedure) (rate({__name__=~"ragmesh_.+_rpc_duration_seconds_count", SVC}RATE))`, "{{procedure}}")}},
				{Kind: Lines, Title: "p99 by procedure", Unit: "s", Width: 12, Queries: quantiles(`{__name__=~"ragmesh_.+_rpc_duration_seconds_bucket", SVC}`, "", "procedure", "{{procedure}}", .99)},
				{Kind: Lines, Title: "Calls by code", Unit: "reqps", Queries: []Query{query(`sum by (code) (rate({__name__=~"ragmesh_.+_rpc_duration_seconds_count", SVC}RATE))`, "{{code}}")}},
				{
					Kind: Lines, Title: "In flight, of what is allowed", Unit: "percentunit", Description: "From 90 % on a replica is not ready; at 100 % it refuses.",
					Queries: []Query{query(`max by (ragmesh_service) (sum by (ragmesh_service, instance) ({__name__=~"ragmesh_.+_rpc_in_flight", SVC}) / sum by (ragmesh_service, instance) ({__name__=~"ragmesh_.+_rpc_in_flight_limit", SVC}))`, "{{ragmesh_service}}")},
				},
				{
					Kind: Lines, Title: "Refused and repeated", Unit: "cps",
					Queries: []Query{
						query(`sum by (ragmesh_service) (rate({__name__=~"ragmesh_.+_rpc_rejected_total", SVC}RATE))`, "{{ragmesh_service}} refused"),
						query(`sum by (ragmesh_service, target) (rate({__name__=~"ragmesh_.+_rpc_client_retries_total", SVC}RATE))`, "{{ragmesh_service}} asked {{target}} again"),
					},
				},
			}},
			{Title: "Health", Panels: []Panel{
				{Kind: Lines, Title: "Ready replicas", Unit: "short", Queries: []Query{query(`sum by (ragmesh_service) ({__name__=~"ragmesh_.+_health_ready", SVC})`, "{{ragmesh_service}}")}},
				{
					Kind: Lines, Title: "Components that are not well", Unit: "short",
					Queries: []Query{query(`sum by (ragmesh_service, component) (1 - {__name__=~"ragmesh_.+_health_component_ready", SVC})`, "{{ragmesh_service}}/{{component}}")},
				},
				{
					Kind: Lines, Title: "Configuration", Unit: "short", Description: "Changes taken and refused.",
					Queries: []Query{
						query(`sum by (ragmesh_service) (increase({__name__=~"ragmesh_.+_config_reloads_total", SVC}RATE))`, "{{ragmesh_service}} taken"),
						query(`sum by (ragmesh_service) (increase({__name__=~"ragmesh_.+_config_reload_failures_total", SVC}RATE))`, "{{ragmesh_service}} refused"),
					},
				},
				{Kind: Table, Title: "What runs", Unit: "short", Width: 12, Queries: []Query{query(`{__name__=~"ragmesh_.+_build_info", SVC}`, "")}},
				{Kind: Table, Title: "Configuration in use", Unit: "short", Width: 12, Queries: []Query{query(`{__name__=~"ragmesh_.+_config_info", SVC}`, "")}},
			}},
			{Title: "Process and Go runtime", Panels: []Panel{
				{Kind: Lines, Title: "CPU", Unit: "none", Description: "Cores.", Queries: []Query{query(mine(`rate(process_cpu_seconds_total{NS}RATE)`), "{{instance}}")}},
				{Kind: Lines, Title: "Resident memory", Unit: "bytes", Queries: []Query{query(mine(`process_resident_memory_bytes{NS}`), "{{instance}}")}},
				{Kind: Lines, Title: "Heap in use", Unit: "bytes", Queries: []Query{query(mine(`go_memstats_heap_inuse_bytes{NS}`), "{{instance}}")}},
				{Kind: Lines, Title: "Goroutines", Unit: "short", Queries: []Query{query(mine(`go_goroutines{NS}`), "{{instance}}")}},
				{Kind: Lines, Title: "Longest pause of the garbage collector", Unit: "s", Queries: []Query{query(mine(`go_gc_duration_seconds{quantile="1", NS}`), "{{instance}}")}},
				{Kind: Lines, Title: "Open files, of what is allowed", Unit: "percentunit", Queries: []Query{query(mine(`process_open_fds{NS} / process_max_fds{NS}`), "{{instance}}")}},
			}},
		},
	}
}

func llm() Board {
	const good = `outcome=~"stop|length|tool_calls|content_filter|abstained"`
	return Board{
		UID: "ragmesh-llm", Title: "ragmesh / Models", Description: "Tokens, cost, speed and errors of every model, and how often a lower rung had to answer.",
		Rows: []Row{
			{Title: "Tokens and cost", Panels: []Panel{
				{Kind: Lines, Title: "Tokens by model and kind", Unit: "short", Description: "Per second.", Queries: []Query{query(`sum by (provider, model, kind) (rate(ragmesh_llm_gateway_tokens_total{NS}RATE))`, "{{provider}}/{{model}} {{kind}}")}},
				{
					Kind: Lines, Title: "Cost an hour, by model and route", Unit: "short", Description: "In the currency of the configured prices; 0 for targets without a price.",
					Queries: []Query{query(`3600 * sum by (route, provider, model) (rate(ragmesh_llm_gateway_cost_total{NS}RATE))`, "{{route}}: {{provider}}/{{model}}")},
				},
				{Kind: Lines, Title: "Tokens an answer", Unit: "short", Queries: []Query{query(`sum by (provider, model, kind) (rate(ragmesh_llm_gateway_tokens_total{NS}RATE)) / ignoring (kind) group_left () sum by (provider, model) (rate(ragmesh_llm_gateway_try_duration_seconds_count{`+good+`, NS}RATE))`, "{{provider}}/{{model}} {{kind}}")}},
				{Kind: Stat, Title: "Cost, last 24 h", Unit: "short", Width: 6, Queries: []Query{query(`sum(increase(ragmesh_llm_gateway_cost_total{NS}[24h]))`, "")}},
				{Kind: Stat, Title: "Tokens, last 24 h", Unit: "short", Width: 6, Queries: []Query{query(`sum(increase(ragmesh_llm_gateway_tokens_total{NS}[24h]))`, "")}},
				{
					Kind: Stat, Title: "Answers from a lower rung, 15 min", Unit: "percentunit", Width: 6, Warn: .02, Bad: .1,
					Queries: []Query{query(`(sum(rate(ragmesh_llm_gateway_try_duration_seconds_count{rung!="0", `+good+`, NS}[15m])) or vector(0)) / (sum(rate(ragmesh_llm_gateway_try_duration_seconds_count{`+good+`, NS}[15m])) > 0)`, "")},
				},
				{Kind: Stat, Title: "Answers under way", Unit: "short", Width: 6, Queries: []Query{query(`sum(ragmesh_llm_gateway_rpc_in_flight{NS})`, "")}},
			}},
			{Title: "Speed", Panels: []Panel{
				{Kind: Lines, Title: "First token by model", Unit: "s", Width: 12, Queries: quantiles("ragmesh_llm_gateway_time_to_first_token_seconds_bucket", "NS", "provider, model", "{{provider}}/{{model}}", .5, .95)},
				{Kind: Lines, Title: "Whole try by model", Unit: "s", Width: 12, Queries: quantiles("ragmesh_llm_gateway_try_duration_seconds_bucket", "NS", "provider, model", "{{provider}}/{{model}}", .5, .95)},
			}},
			{Title: "Errors", Panels: []Panel{
				{Kind: Lines, Title: "Tries by outcome", Unit: "reqps", Stack: true, Queries: []Query{query(`sum by (provider, model, outcome) (rate(ragmesh_llm_gateway_try_duration_seconds_count{NS}RATE))`, "{{provider}}/{{model}} {{outcome}}")}},
				{
					Kind: Lines, Title: "Errors by model", Unit: "percentunit", Description: "Callers who left are none.",
					Queries: []Query{query(`(sum by (provider, model) (rate(ragmesh_llm_gateway_try_duration_seconds_count{outcome!~"stop|length|tool_calls|content_filter|abstained|CANCELED", NS}RATE)) or 0 * sum by (provider, model) (rate(ragmesh_llm_gateway_try_duration_seconds_count{NS}RATE))) / sum by (provider, model) (rate(ragmesh_llm_gateway_try_duration_seconds_count{NS}RATE))`, "{{provider}}/{{model}}")},
				},
				{Kind: Lines, Title: "Answers by rung", Unit: "reqps", Stack: true, Description: "Rung 0 is the route's first target.", Queries: []Query{query(`sum by (route, rung) (rate(ragmesh_llm_gateway_try_duration_seconds_count{`+good+`, NS}RATE))`, "{{route}} rung {{rung}}")}},
			}},
		},
	}
}

func ingestion() Board {
	return Board{
		UID: "ragmesh-ingestion", Title: "ragmesh / Documents and search", Description: "What waits to be taken in and why, how long each stage takes, and what searches find.",
		Rows: []Row{
			{Title: "Queue", Panels: []Panel{
				{Kind: Stat, Title: "Documents ready", Unit: "short", Queries: []Query{query(`sum(ragmesh_retriever_documents{state="ready", NS})`, "")}},
				{Kind: Stat, Title: "Waiting", Unit: "short", Warn: 100, Bad: 10000, Queries: []Query{query(`sum(ragmesh_retriever_documents{state=~"queued|processing", NS})`, "")}},
				{Kind: Stat, Title: "Failed", Unit: "short", Warn: 1, Bad: 100, Queries: []Query{query(`sum(ragmesh_retriever_documents{state="failed", NS})`, "")}},
				{Kind: Stat, Title: "Oldest that waits", Unit: "s", Warn: 300, Bad: 900, Queries: []Query{query(`max(ragmesh_retriever_ingest_oldest_seconds{NS})`, "")}},
				{Kind: Stat, Title: "Jobs in the queue", Unit: "short", Queries: []Query{query(`max(ragmesh_retriever_bus_consumer_pending_messages{consumer="retriever-ingest", NS})`, "")}},
				{Kind: Stat, Title: "Missing in the index", Unit: "short", Warn: 1, Bad: 100, Queries: []Query{query(`sum(ragmesh_retriever_index_missing_documents{NS})`, "")}},
				{Kind: Lines, Title: "Documents by state", Unit: "short", Queries: []Query{query(`sum by (state) (ragmesh_retriever_documents{state!="ready", NS})`, "{{state}}")}},
				{Kind: Lines, Title: "Oldest that waits", Unit: "s", Queries: []Query{query(`max(ragmesh_retriever_ingest_oldest_seconds{NS})`, "document"), query(`max(ragmesh_retriever_bus_consumer_lag_seconds{consumer="retriever-ingest", NS})`, "job")}},
				{Kind: Lines, Title: "Jobs by outcome", Unit: "cps", Stack: true, Queries: []Query{query(`sum by (outcome) (rate(ragmesh_retriever_ingest_duration_seconds_count{NS}RATE))`, "{{outcome}}")}},
			}},
			{Title: "Stages", Panels: []Panel{
				{Kind: Lines, Title: "Mean per job, by stage", Unit: "s", Stack: true, Queries: []Query{query(`sum by (stage) (rate(ragmesh_retriever_ingest_stage_duration_seconds_sum{NS}[5m])) / ignoring (stage) group_left () sum(rate(ragmesh_retriever_ingest_duration_seconds_count{NS}[5m]))`, "{{stage}}")}},
				{Kind: Lines, Title: "p95 by stage", Unit: "s", Queries: quantiles("ragmesh_retriever_ingest_stage_duration_seconds_bucket", "NS", "stage", "{{stage}}", .95)},
				{Kind: Lines, Title: "Failures by reason, an hour", Unit: "short", Queries: []Query{query(`sum by (reason) (increase(ragmesh_retriever_ingest_failures_total{NS}[1h])) or vector(0)`, "{{reason}}")}},
			}},
			{Title: "Search", Panels: []Panel{
				{Kind: Lines, Title: "Searches by outcome", Unit: "reqps", Stack: true, Queries: []Query{query(`sum by (outcome) (rate(ragmesh_retriever_search_duration_seconds_count{NS}RATE))`, "{{outcome}}")}},
				{Kind: Lines, Title: "Time of a search", Unit: "s", Queries: quantiles("ragmesh_retriever_search_duration_seconds_bucket", "NS", "", "", .5, .95, .99)},
				{Kind: Lines, Title: "Candidates of a search", Unit: "short", Queries: quantiles("ragmesh_retriever_search_candidates_count_bucket", "NS", "", "", .5, .95)},
				{Kind: Lines, Title: "Left something out, by reason", Unit: "cps", Queries: []Query{query(`sum by (reason) (rate(ragmesh_retriever_search_degraded_total{NS}RATE))`, "{{reason}}")}},
			}},
		},
	}
}

func messaging() Board {
	return Board{
		UID: "ragmesh-messaging", Title: "ragmesh / NATS and evaluation", Services: true,
		Description: "The services' side of NATS, and how far eval is behind. The servers' own side is in the dashboards of the NATS exporter.",
		Rows: []Row{
			{Title: "NATS, as the services see it", Panels: []Panel{
				{Kind: Lines, Title: "Connected replicas", Unit: "short", Queries: []Query{query(`sum by (ragmesh_service) ({__name__=~"ragmesh_.+_bus_connected", SVC})`, "{{ragmesh_service}}")}},
				{Kind: Lines, Title: "Reconnects", Unit: "short", Queries: []Query{query(`sum by (ragmesh_service) (increase({__name__=~"ragmesh_.+_bus_reconnects_total", SVC}[5m]))`, "{{ragmesh_service}}")}},
				{Kind: Lines, Title: "Turns in the spool", Unit: "short", Queries: []Query{query(`sum by (instance) (ragmesh_dialog_spooled_turns{NS})`, "{{instance}}")}},
				{Kind: Lines, Title: "Publishes", Unit: "reqps", Queries: []Query{query(`sum by (ragmesh_service, outcome) (rate({__name__=~"ragmesh_.+_bus_publish_seconds_count", SVC}RATE))`, "{{ragmesh_service}} {{outcome}}")}},
				{Kind: Lines, Title: "p99 until a publish is acknowledged", Unit: "s", Queries: quantiles(`{__name__=~"ragmesh_.+_bus_publish_seconds_bucket", SVC}`, "", "ragmesh_service", "{{ragmesh_service}}", .99)},
				{Kind: Lines, Title: "Spans dropped", Unit: "cps", Queries: []Query{query(`sum by (ragmesh_service) (rate({__name__=~"ragmesh_.+_spans_dropped_total", SVC}RATE))`, "{{ragmesh_service}}")}},
			}},
			{Title: "Consumers", Panels: []Panel{
				{Kind: Lines, Title: "Not done yet", Unit: "short", Queries: []Query{query(`max by (consumer) ({__name__=~"ragmesh_.+_bus_consumer_pending_messages", SVC})`, "{{consumer}}")}},
				{Kind: Lines, Title: "Age of the oldest", Unit: "s", Queries: []Query{query(`max by (consumer) ({__name__=~"ragmesh_.+_bus_consumer_lag_seconds", SVC})`, "{{consumer}}")}},
				{Kind: Lines, Title: "Handled, by outcome", Unit: "cps", Queries: []Query{query(`sum by (consumer, outcome) (rate({__name__=~"ragmesh_.+_bus_handle_seconds_count", SVC}RATE))`, "{{consumer}} {{outcome}}")}},
			}},
			{Title: "eval", Panels: []Panel{
				{Kind: Lines, Title: "Turns and spans taken in", Unit: "cps", Queries: []Query{
					query(`sum by (outcome) (rate(ragmesh_eval_consumed_turns_total{NS}RATE))`, "turns {{outcome}}"), query(`sum by (outcome) (rate(ragmesh_eval_consumed_spans_total{NS}RATE))`, "spans {{outcome}}"),
				}},
				{Kind: Lines, Title: "Trace store", Unit: "bytes", Queries: []Query{query(`sum(ragmesh_eval_store_used_bytes{NS})`, "used")}},
				{Kind: Lines, Title: "Removed or unreadable, an hour", Unit: "short", Queries: []Query{
					query(`sum by (table) (increase(ragmesh_eval_pruned_rows_total{NS}[1h]))`, "{{table}} removed at a bound"), query(`sum(increase(ragmesh_eval_malformed_batches_total{NS}[1h]))`, "batches unreadable"),
				}},
			}},
		},
	}
}
