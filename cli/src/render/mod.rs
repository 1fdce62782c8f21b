//! How results look: tables and text for people, JSON for programs. Nothing here makes a call.

pub(crate) mod changes;
pub(crate) mod lineage;
pub(crate) mod objects;
pub(crate) mod online;
pub(crate) mod pushed;
pub(crate) mod revisions;
pub(crate) mod runs;
pub(crate) mod table;
pub(crate) mod trained;
pub(crate) mod values;

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
