package profile

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
)

// Rows returns the table as text, the heads of its columns first. The rows stand in the order in which they are tried.
func (t *Table) Rows() [][]string {
	rows := [][]string{{"profile", "User-Agent", "dialogs", "idle", "display", "parties", "hold", "cookie", "presence", "TCP above", "longest", "source"}}
	profiles := t.rows
	if len(profiles) == 0 {
		profiles = []*Profile{t.byDefault()}
	}
	for _, p := range profiles {
		agents := strings.Join(p.Agents, ", ")
		if agents == "" {
			agents = "any other"
		}
		rows = append(rows, []string{p.Name, agents, p.Dialogs, p.Idle, word(p.Display, "yes", "no"), word(p.HideParties, "hidden", "shown"),
			word(p.Hold, "yes", "no"), word(p.Cookie, "yes", "no"), p.Presence, size(p.TCPAbove), size(p.Longest), word(p.Source != "", p.Source, "-")})
	}
	return rows
}

// Print writes the table in columns.
func (t *Table) Print(out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	for i, row := range t.Rows() {
		if i == 0 {
			for j := range row {
				row[j] = strings.ToUpper(row[j])
			}
		}
		fmt.Fprintln(w, strings.Join(row, "\t"))
	}
	return w.Flush()
}

func word(is bool, yes, no string) string {
	if is {
		return yes
	}
	return no
}

// size is a number of bytes; 0 is no bound.
func size(n int) string {
	if n == 0 {
		return "-"
	}
	return strconv.Itoa(n)
}
