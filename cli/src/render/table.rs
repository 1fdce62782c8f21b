//! Tables without borders: columns two spaces apart, headings on top.

use comfy_table::{Attribute, Cell as TableCell, CellAlignment, Color, ContentArrangement, presets};

use super::{Ink, Paint, harmless, on_one_line};

/// A cell and its ink.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cell {
    text: String,
    ink: Ink,
    right: bool,
    /// Whether line breaks in it are lines.
    lines: bool,
}

impl Cell {
    /// In an ink.
    pub(crate) fn inked(text: impl Into<String>, ink: Ink) -> Self {
        Self { text: text.into(), ink, right: false, lines: false }
    }

    /// A number: digits stand below each other.
    pub(crate) fn number(number: impl ToString) -> Self {
        Self { text: number.to_string(), ink: Ink::Normal, right: true, lines: false }
    }

    /// What has lines of its own, e.g. SQL.
    pub(crate) fn lines(text: &str) -> Self {
        Self { text: text.trim_end().to_owned(), ink: Ink::Normal, right: false, lines: true }
    }
}

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self::inked(text, Ink::Normal)
    }
}

/// Rows below headings. Without rows there is nothing to show.
pub(crate) fn table(paint: Paint, headings: &[&str], rows: Vec<Vec<Cell>>) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let mut table = comfy_table::Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    match paint {
        Paint::Plain => table.force_no_tty(),
        Paint::Coloured => table.enforce_styling(),
    };
    let right: Vec<bool> = rows.first().into_iter().flatten().map(|cell| cell.right).collect();
    let heading = |(position, heading): (usize, &&str)| {
        let cell = TableCell::new(on_one_line(heading)).add_attribute(Attribute::Bold);
        let is_right = right.get(position).copied().unwrap_or(false);
        if is_right { cell.set_alignment(CellAlignment::Right) } else { cell }
    };
    table.set_header(headings.iter().enumerate().map(heading));
    for row in rows {
        table.add_row(row.into_iter().map(cell));
    }
    table.column_iter_mut().for_each(|column| {
        column.set_padding((0, 2));
    });
    trimmed(&table.to_string())
}

fn cell(cell: Cell) -> TableCell {
    let Cell { text, ink, right, lines } = cell;
    // No colours in it but its own.
    let shown = TableCell::new(if lines { harmless(&text, Paint::Plain) } else { on_one_line(&text) });
    let shown = match ink {
        Ink::Normal => shown,
        Ink::Green => shown.fg(Color::Green),
        Ink::Red => shown.fg(Color::Red),
        Ink::Yellow => shown.fg(Color::Yellow),
        Ink::Dim => shown.add_attribute(Attribute::Dim),
        Ink::Bold => shown.add_attribute(Attribute::Bold),
    };
    if right { shown.set_alignment(CellAlignment::Right) } else { shown }
}

fn trimmed(text: &str) -> String {
    text.lines().map(str::trim_end).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    #[test]
    fn a_line_break_in_a_value_is_shown_escaped() {
        let rows = vec![vec!["a\nb\t".into(), Cell::lines("CASE\n  1 END\n")]];
        expect![[r#"
            NA\nME  SQL
            a\nb\t  CASE
                      1 END"#]]
        .assert_eq(&table(Paint::Plain, &["NA\nME", "SQL"], rows));
    }

    #[test]
    fn numbers_stand_to_the_right_and_nothing_trails() {
        let rows = vec![vec!["age".into(), Cell::number(7)], vec!["income".into(), Cell::number(12_345)]];
        expect![[r#"
            FEATURE   ROWS
            age          7
            income   12345"#]]
        .assert_eq(&table(Paint::Plain, &["FEATURE", "ROWS"], rows));
        assert_eq!(table(Paint::Plain, &["FEATURE"], vec![]), "");
    }
}
