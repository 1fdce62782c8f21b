//! The log of revisions.

use larder_client::RevisionInfo;
use serde_json::{Value, json};

use super::{
    Paint,
    table::{Cell, table},
};
use crate::console::Report;

/// Newest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Revisions(pub(crate) Vec<RevisionInfo>);

fn json_of(info: &RevisionInfo) -> Value {
    let RevisionInfo { revision, created_at, principal, address, origin, message, rollback_to, puts, removes } = info;
    json!({
        "revision": revision,
        "created_at": created_at.to_string(),
        "principal": principal,
        "address": address,
        "origin": origin,
        "message": message,
        "rollback_to": rollback_to,
        "puts": puts,
        "removes": removes,
    })
}

fn message_of(info: &RevisionInfo) -> String {
    match info.rollback_to {
        Some(to) if info.message.is_empty() => format!("rollback to {to}"),
        Some(to) => format!("rollback to {to}: {}", info.message),
        None => info.message.clone(),
    }
}

impl Report for Revisions {
    fn json(&self) -> Value {
        json!({ "revisions": self.0.iter().map(json_of).collect::<Vec<_>>() })
    }

    fn text(&self, paint: Paint) -> String {
        let row = |line: &RevisionInfo| {
            vec![
                Cell::number(line.revision),
                line.created_at.to_string().into(),
                line.principal.clone().into(),
                line.origin.clone().into(),
                Cell::number(line.puts),
                Cell::number(line.removes),
                message_of(line).into(),
            ]
        };
        let headings = ["REVISION", "MADE AT", "BY", "ORIGIN", "PUT", "REMOVED", "MESSAGE"];
        table(paint, &headings, self.0.iter().map(row).collect())
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;
    use larder_types::{Revision, Timestamp};

    use super::*;

    #[test]
    fn a_rollback_says_where_it_went_back_to() {
        let line = |revision, rollback_to, message: &str| RevisionInfo {
            revision: Revision(revision),
            created_at: Timestamp::from_micros(0),
            principal: "anonymous".to_owned(),
            address: "127.0.0.1".to_owned(),
            origin: "payments".to_owned(),
            message: message.to_owned(),
            rollback_to,
            puts: 2,
            removes: 0,
        };
        let revisions = Revisions(vec![line(2, Some(Revision(1)), ""), line(1, None, "first")]);
        expect![[r#"
            REVISION  MADE AT               BY         ORIGIN    PUT  REMOVED  MESSAGE
                   2  1970-01-01T00:00:00Z  anonymous  payments    2        0  rollback to 1
                   1  1970-01-01T00:00:00Z  anonymous  payments    2        0  first"#]]
        .assert_eq(&revisions.text(Paint::Plain));
        assert_eq!(revisions.json()["revisions"][0]["rollback_to"], 1);
    }
}
