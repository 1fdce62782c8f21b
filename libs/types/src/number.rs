//! Numbers that the registry gives and never gives again.

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! number {
    ($($(#[$doc:meta])* $name:ident($inner:ty)),* $(,)?) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }

        impl $name {
            /// The one after it.
            #[must_use]
            pub fn next(self) -> Self {
                Self(self.0 + 1)
            }
        }
    )*};
}

number! {
    /// A project. First part of every online key.
    ProjectNumber(u32),
    /// The sorted join keys and types that views with the same entities share. Second part of every online key.
    KeySpaceNumber(u32),
    /// The online rows of one view in one generation.
    RowSetNumber(u32),
    /// A numbered list of columns of one view. Rows name theirs.
    SchemaNumber(u32),
    /// A column of a view: kept through renames, never given to another column.
    ColumnNumber(u32),
    /// A state of a project's definitions. 0 is the state before the first apply.
    Revision(u64),
    /// Who may write for a run: a lower number is refused.
    LeaseNumber(u64),
}
