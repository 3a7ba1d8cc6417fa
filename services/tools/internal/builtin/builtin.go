// Package builtin has the tools that need no configuration: calculator and current_time.
package builtin

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
	_ "time/tzdata" // the images have no zone files

	"github.com/ragmesh/ragmesh/libs/fault"
	"github.com/ragmesh/ragmesh/services/tools/internal/calc"
	"github.com/ragmesh/ragmesh/services/tools/internal/registry"
)

// Names of the built-in tools.
const (
	CalculatorName  = "calculator"
	CurrentTimeName = "current_time"
)

const timeout = time.Second

// Calculator returns the tool that evaluates arithmetic.
func Calculator() registry.Tool {
	return registry.Tool{
		Name: CalculatorName,
		Description: map[string]string{
			"en": "Evaluates an arithmetic expression exactly, in decimal: + - * / ^ mod, percentages, parentheses, " +
				"abs avg ceil floor ln log10 max min round sqrt sum and pi.",
			"zh": "精确计算算术表达式：加减乘除、乘方、取余、百分比、括号，以及 abs、avg、ceil、floor、ln、log10、max、min、round、sqrt、sum 和 pi。",
		},
		InputSchema: map[string]any{
			"type":                 "object",
			"additionalProperties": false,
			"required":             []any{"expression"},
			"properties": map[string]any{
				"expression": map[string]any{
					"type":        "string",
					"minLength":   1,
					"maxLength":   calc.MaxBytes,
					"description": "The expression, for example \"12.5% * (3 + 4)\" or \"3万除以4\".",
				},
			},
		},
		Kind:    registry.Builtin,
		Timeout: timeout,
		Runner:  registry.RunnerFunc(calculate),
	}
}

func calculate(_ context.Context, args map[string]any) (registry.Output, error) {
	expression, _ := args["expression"].(string)
	r, err := calc.Eval(expression)
	if wrong, ok := errors.AsType[*calc.Error](err); ok {
		return registry.Output{}, fault.Wrap(err, fault.Invalid, fault.ToolFailed, "%s", wrong.Message)
	}
	if err != nil {
		return registry.Output{}, fmt.Errorf("evaluate expression: %w", err)
	}
	return registry.Output{
		Text: r.String(),
		Data: map[string]any{"expression": r.Expression, "value": r.Value, "exact": r.Exact},
	}, nil
}

// CurrentTime returns the tool that tells the time.
func CurrentTime(clock func() time.Time) registry.Tool {
	return registry.Tool{
		Name: CurrentTimeName,
		Description: map[string]string{
			"en": "Tells the current date, weekday and time in a time zone.",
			"zh": "返回某个时区当前的日期、星期和时间。",
		},
		InputSchema: map[string]any{
			"type":                 "object",
			"additionalProperties": false,
			"properties": map[string]any{
				"timezone": map[string]any{
					"type":        "string",
					"default":     "UTC",
					"maxLength":   64,
					"description": "IANA time zone, for example \"Asia/Shanghai\" or \"Europe/Berlin\".",
				},
			},
		},
		Kind:    registry.Builtin,
		Timeout: timeout,
		Runner: registry.RunnerFunc(func(_ context.Context, args map[string]any) (registry.Output, error) {
			zone, _ := args["timezone"].(string)
			return tellTime(clock(), zone)
		}),
	}
}

func tellTime(now time.Time, zone string) (registry.Output, error) {
	zone = strings.TrimSpace(zone)
	location, err := time.LoadLocation(zone)
	if err != nil || strings.EqualFold(zone, "local") { // the server's own zone means nothing to who asks
		return registry.Output{}, fault.Wrap(err, fault.Invalid, fault.ToolFailed,
			"%q is not an IANA time zone such as \"Asia/Shanghai\" or \"UTC\"", zone)
	}
	at := now.In(location)
	offset := "UTC" + at.Format("-07:00")
	return registry.Output{
		Text: fmt.Sprintf("%s %s (%s, %s), %s", at.Format("2006-01-02 15:04:05"), location, at.Weekday(), weekday(at.Weekday()), offset),
		Data: map[string]any{
			"time":     at.Format(time.RFC3339),
			"date":     at.Format(time.DateOnly),
			"clock":    at.Format(time.TimeOnly),
			"weekday":  at.Weekday().String(),
			"timezone": location.String(),
			"offset":   at.Format("-07:00"),
			"unix":     float64(at.Unix()),
		},
	}, nil
}

func weekday(d time.Weekday) string {
	return [...]string{"星期日", "星期一", "星期二", "星期三", "星期四", "星期五", "星期六"}[d]
}
