package ledger

import (
	"fmt"
	"time"
)

// Day is a day in UTC, counted from 1970-01-01.
type Day int32

const maxDay = 2_932_896 // 9999-12-31

// DayOf returns the day of a moment.
func DayOf(t time.Time) Day { return Day(t.Unix() / 86400) }

// ParseDay reads a day such as 2026-11-21.
func ParseDay(s string) (Day, error) {
	t, err := time.Parse(time.DateOnly, s)
	if err != nil || t.Unix() < 0 {
		return 0, fmt.Errorf("%q is no day such as 2026-11-21", s)
	}
	return DayOf(t), nil
}

// Time is the day's beginning.
func (d Day) Time() time.Time { return time.Unix(int64(d)*86400, 0).UTC() }

// String returns the day as 2026-11-21.
func (d Day) String() string { return d.Time().Format(time.DateOnly) }

// First is the first day of the day's month.
func (d Day) First() Day { return d - Day(d.Time().Day()) + 1 }

// month counts months.
func (d Day) month() int32 {
	t := d.Time()
	return int32(t.Year()*12 + int(t.Month()))
}

// NextMonth is the first day of the month after the day's.
func (d Day) NextMonth() Day { return DayOf(d.First().Time().AddDate(0, 1, 0)) }
