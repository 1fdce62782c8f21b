//! What became of pushed events.

use std::fmt::Write as _;

use larder_client::RowResult;
use larder_types::Name;
use serde_json::{Value, json};

use super::{
    Ink, Paint,
    numbers::{counted, grouped, rate},
    table::{Cell, table},
};
use crate::console::Report;

/// Counts of rows, and every refusal.
#[derive(Debug)]
pub(crate) struct Pushed {
    pub(crate) source: Name,
    /// What the ids of its batches begin with.
    pub(crate) batch_id: String,
    pub(crate) rows: u64,
    pub(crate) written: u64,
    pub(crate) older: u64,
    pub(crate) expired: u64,
    pub(crate) refused: u64,
    pub(crate) unknown: u64,
    /// Row of the file, from 1, and why.
    pub(crate) refusals: Vec<(u64, String)>,
    pub(crate) seconds: f64,
}

/// How many refusals people are shown.
const SHOWN: usize = 10;

impl Pushed {
    pub(crate) fn new(source: Name, batch_id: String) -> Self {
        Self {
            source,
            batch_id,
            rows: 0,
            written: 0,
            older: 0,
            expired: 0,
            refused: 0,
            unknown: 0,
            refusals: Vec::new(),
            seconds: 0.0,
        }
    }

    pub(crate) fn count(&mut self, result: RowResult) {
        match result {
            RowResult::Written => self.written += 1,
            RowResult::Older => self.older += 1,
            RowResult::Expired => self.expired += 1,
            RowResult::Refused => self.refused += 1,
            RowResult::Unknown => self.unknown += 1,
        }
    }
}

impl Report for Pushed {
    fn json(&self) -> Value {
        let Self { source, batch_id, rows, written, older, expired, refused, unknown, refusals, seconds } = self;
        let refusals = refusals.iter().map(|(row, reason)| json!({ "row": row, "reason": reason }));
        json!({
            "source": source, "batch_id": batch_id, "rows": rows, "written": written, "older": older, "expired": expired, "refused": refused,
            "unknown": unknown, "refusals": refusals.collect::<Vec<_>>(), "seconds": seconds,
        })
    }

    fn text(&self, paint: Paint) -> String {
        let (events, rate) = (counted(self.rows, "event"), rate(self.rows, self.seconds));
        let events = match self.refused {
            0 => events,
            refused => format!("{} of {events}", grouped(self.rows.saturating_sub(refused))),
        };
        let mut text = format!("{events} pushed to {}, {rate} a second", self.source);
        let counts = [
            (self.written, "written"),
            (self.older, "older than what is there"),
            (self.expired, "past their ttl: not written online"),
            (self.refused, "refused"),
            (self.unknown, "answered with something of a later release"),
        ];
        for (count, what) in counts.into_iter().filter(|(count, _)| *count > 0) {
            let _ = write!(text, "\n  {:>9} {what}", grouped(count));
        }
        if !self.refusals.is_empty() {
            let row = |(row, reason): &(u64, String)| vec![Cell::number(row), Cell::inked(reason.clone(), Ink::Red)];
            let shown = self.refusals.iter().take(SHOWN).map(row).collect();
            let _ = write!(text, "\n\n{}", table(paint, &["ROW", "REFUSED BECAUSE"], shown));
            if self.refusals.len() > SHOWN {
                let _ = write!(text, "\nand {} more (--output json has all)", self.refusals.len() - SHOWN);
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    #[test]
    fn refusals_are_listed_below_the_counts() {
        let mut pushed = Pushed::new(Name::new("events").unwrap(), "b".to_owned());
        for result in [RowResult::Written, RowResult::Written, RowResult::Older, RowResult::Refused] {
            pushed.count(result);
        }
        (pushed.rows, pushed.seconds) = (4, 2.0);
        pushed.refusals.push((4, "customer_id is null".to_owned()));
        expect![[r#"
            3 of 4 events pushed to events, 2 a second
                      2 written
                      1 older than what is there
                      1 refused

            ROW  REFUSED BECAUSE
              4  customer_id is null"#]]
        .assert_eq(&pushed.text(Paint::Plain));
        pushed.rows = 1;
        assert!(pushed.text(Paint::Plain).starts_with("0 of 1 event pushed to events"));
        let accepted = Pushed { rows: 1, written: 1, ..Pushed::new(Name::new("events").unwrap(), "b".to_owned()) };
        assert!(accepted.text(Paint::Plain).starts_with("1 event pushed to events"));
        assert_eq!(pushed.json()["batch_id"], "b");
        assert_eq!(pushed.json()["refusals"], json!([{ "row": 4, "reason": "customer_id is null" }]));
    }
}
