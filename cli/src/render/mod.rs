//! How results look: tables and text for people, JSON for programs. Nothing here makes a call.

pub(crate) mod changes;
pub(crate) mod lineage;
pub(crate) mod numbers;
pub(crate) mod objects;
pub(crate) mod online;
pub(crate) mod pushed;
pub(crate) mod revisions;
pub(crate) mod runs;
pub(crate) mod table;
pub(crate) mod trained;
pub(crate) mod values;

/// Text in which nothing steers a terminal: control characters of names, descriptions and values are shown escaped. Lines
/// stay lines, and colours stay where they are put in.
pub(crate) fn harmless(text: &str, paint: Paint) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let colour = if paint == Paint::Coloured { colour(rest) } else { 0 };
        if colour > 0 {
            shown.push_str(&rest[..colour]);
            rest = &rest[colour..];
            continue;
        }
        if steers(c) && c != '\n' {
            shown.extend(c.escape_default());
        } else {
            shown.push(c);
        }
        rest = &rest[c.len_utf8()..];
    }
    shown
}

/// The same of what is one thing, e.g. a value: line breaks are escaped, too.
pub(crate) fn on_one_line(text: &str) -> String {
    harmless(text, Paint::Plain).replace('\n', "\\n")
}

/// The length of the sequence that sets a colour at the start of `text`; 0 where there is none.
fn colour(text: &str) -> usize {
    let Some(codes) = text.strip_prefix("\u{1b}[") else { return 0 };
    match codes.find(|c: char| !c.is_ascii_digit() && c != ';') {
        Some(end) if codes[end..].starts_with('m') => "\u{1b}[".len() + end + 1,
        Some(_) | None => 0,
    }
}

/// Control characters, and those that turn the direction of what follows.
fn steers(c: char) -> bool {
    c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Whether text is coloured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Paint {
    /// As it is.
    Plain,
    /// With terminal colours.
    Coloured,
}

/// A colour, or a weight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ink {
    /// As everything else.
    Normal,
    /// Good, new.
    Green,
    /// Bad, gone.
    Red,
    /// To be looked at.
    Yellow,
    /// Beside the point.
    Dim,
    /// A heading.
    Bold,
}

impl Paint {
    /// `text` in that ink.
    pub(crate) fn ink(self, ink: Ink, text: &str) -> String {
        let code = match ink {
            Ink::Normal => return text.to_owned(),
            Ink::Green => 32,
            Ink::Red => 31,
            Ink::Yellow => 33,
            Ink::Dim => 2,
            Ink::Bold => 1,
        };
        match self {
            Self::Plain => text.to_owned(),
            Self::Coloured => format!("\u{1b}[{code}m{text}\u{1b}[0m"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_steers_a_terminal_is_shown_escaped() {
        let red = Paint::Coloured.ink(Ink::Red, "a");
        for (text, plain, coloured) in [
            ("a\nb é", "a\nb é", "a\nb é"),
            ("\u{1b}]0;title\u{7}\r", "\\u{1b}]0;title\\u{7}\\r", "\\u{1b}]0;title\\u{7}\\r"),
            ("\u{1b}[2J\u{9b}1A", "\\u{1b}[2J\\u{9b}1A", "\\u{1b}[2J\\u{9b}1A"),
            ("\u{202e}b", "\\u{202e}b", "\\u{202e}b"),
            (red.as_str(), "\\u{1b}[31ma\\u{1b}[0m", red.as_str()),
            ("\u{1b}[31", "\\u{1b}[31", "\\u{1b}[31"),
        ] {
            assert_eq!(harmless(text, Paint::Plain), plain, "{text:?}");
            assert_eq!(harmless(text, Paint::Coloured), coloured, "{text:?}");
        }
    }
}
