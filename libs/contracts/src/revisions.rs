//! Change sets, what they do, and what is said of revisions.

use larder_definitions::{ChangeKind, ChangeSet, Consequence, ConsequenceKind, FieldChange, ObjectChange};
use larder_types::{Result, Revision, Timestamp};

use crate::{
    registry::v1 as api,
    wire::{Path, Wire, all_to_wire},
};

/// A change set as it is sent: its sender need not know what its origin declared before.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ChangeRequest {
    /// What is asked for.
    pub change: ChangeSet,
    /// Whether what the origin declared before and does not put now is removed besides.
    pub remove_missing: bool,
}

impl Wire for ChangeRequest {
    type Message = api::ChangeSet;

    fn to_wire(&self) -> api::ChangeSet {
        let ChangeSet { puts, removes, expected_revision, origin, message } = &self.change;
        api::ChangeSet {
            puts: all_to_wire(puts),
            removes: all_to_wire(removes),
            origin: origin.clone(),
            remove_missing: self.remove_missing,
            message: message.clone(),
            expected_revision: expected_revision.map(|revision| revision.0),
        }
    }

    fn from_wire(message: api::ChangeSet, at: &Path<'_>) -> Result<Self> {
        let api::ChangeSet { puts, removes, origin, remove_missing, message, expected_revision } = message;
        let change = ChangeSet {
            puts: at.read_all("puts", puts)?,
            removes: at.read_all("removes", removes)?,
            expected_revision: expected_revision.map(Revision),
            origin,
            message,
        };
        Ok(Self { change, remove_missing })
    }
}

/// The message of what differs.
pub fn diff_to_wire(changes: &[ObjectChange]) -> api::Diff {
    api::Diff { changes: all_to_wire(changes) }
}

/// What differs.
pub fn diff_from_wire(message: Option<api::Diff>, at: &Path<'_>) -> Result<Vec<ObjectChange>> {
    let api::Diff { changes } = message.unwrap_or_default();
    at.field("diff").read_all("changes", changes)
}

impl Wire for ObjectChange {
    type Message = api::ObjectChange;

    fn to_wire(&self) -> api::ObjectChange {
        let kind = match self.kind {
            ChangeKind::Created => api::ChangeKind::Created,
            ChangeKind::Changed => api::ChangeKind::Changed,
            ChangeKind::Removed => api::ChangeKind::Removed,
        };
        api::ObjectChange { id: Some(self.id.to_wire()), kind: kind.into(), fields: all_to_wire(&self.fields) }
    }

    fn from_wire(message: api::ObjectChange, at: &Path<'_>) -> Result<Self> {
        let api::ObjectChange { id, kind, fields } = message;
        let kind = match api::ChangeKind::try_from(kind) {
            Ok(api::ChangeKind::Unspecified) => return Err(at.field("kind").invalid("is missing")),
            Ok(api::ChangeKind::Created) => ChangeKind::Created,
            Ok(api::ChangeKind::Changed) => ChangeKind::Changed,
            Ok(api::ChangeKind::Removed) => ChangeKind::Removed,
            Err(_) => return Err(at.field("kind").not_understood(format_args!("change kind {kind}"))),
        };
        Ok(Self { id: at.read("id", id)?, kind, fields: at.read_all("fields", fields)? })
    }
}

impl Wire for FieldChange {
    type Message = api::FieldChange;

    fn to_wire(&self) -> api::FieldChange {
        let Self { path, old, new } = self.clone();
        api::FieldChange { path, before: old, after: new }
    }

    fn from_wire(message: api::FieldChange, _at: &Path<'_>) -> Result<Self> {
        let api::FieldChange { path, before, after } = message;
        Ok(Self { path, old: before, new: after })
    }
}

impl Wire for Consequence {
    type Message = api::Consequence;

    fn to_wire(&self) -> api::Consequence {
        let kind = match self.kind {
            ConsequenceKind::MustMaterialize => api::ConsequenceKind::MustMaterialize,
            ConsequenceKind::FullRunNeeded => api::ConsequenceKind::FullRunNeeded,
            ConsequenceKind::Retires => api::ConsequenceKind::Retires,
            ConsequenceKind::Note => api::ConsequenceKind::Note,
        };
        api::Consequence { object: Some(self.object.to_wire()), kind: kind.into(), message: self.message.clone() }
    }

    /// A kind of a later release is something to know.
    fn from_wire(message: api::Consequence, at: &Path<'_>) -> Result<Self> {
        let api::Consequence { object, kind, message } = message;
        let kind = match api::ConsequenceKind::try_from(kind) {
            Ok(api::ConsequenceKind::MustMaterialize) => ConsequenceKind::MustMaterialize,
            Ok(api::ConsequenceKind::FullRunNeeded) => ConsequenceKind::FullRunNeeded,
            Ok(api::ConsequenceKind::Retires) => ConsequenceKind::Retires,
            Ok(api::ConsequenceKind::Note | api::ConsequenceKind::Unspecified) | Err(_) => ConsequenceKind::Note,
        };
        Ok(Self { object: at.read("object", object)?, kind, message })
    }
}

/// What is said of a revision in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RevisionInfo {
    /// Its number.
    pub revision: Revision,
    /// When it was made, by the registry's clock.
    pub created_at: Timestamp,
    /// Who made it.
    pub principal: String,
    /// From where.
    pub address: String,
    /// Who declares its objects.
    pub origin: String,
    /// For people.
    pub message: String,
    /// The revision whose definitions it restores, of a rollback.
    pub rollback_to: Option<Revision>,
    /// Objects it created or changed.
    pub puts: u32,
    /// Objects it removed.
    pub removes: u32,
}

impl Wire for RevisionInfo {
    type Message = api::RevisionInfo;

    fn to_wire(&self) -> api::RevisionInfo {
        let Self { revision, created_at, principal, address, origin, message, rollback_to, puts, removes } =
            self.clone();
        api::RevisionInfo {
            revision: revision.0,
            created_at: created_at.as_micros(),
            principal,
            address,
            origin,
            message,
            rollback_to: rollback_to.map(|revision| revision.0),
            puts,
            removes,
        }
    }

    fn from_wire(message: api::RevisionInfo, _at: &Path<'_>) -> Result<Self> {
        let api::RevisionInfo { revision, created_at, principal, address, origin, message, rollback_to, puts, removes } =
            message;
        Ok(Self {
            revision: Revision(revision),
            created_at: Timestamp::from_micros(created_at),
            principal,
            address,
            origin,
            message,
            rollback_to: rollback_to.map(Revision),
            puts,
            removes,
        })
    }
}

#[cfg(test)]
mod tests {
    use larder_definitions::{ObjectId, ObjectKind};
    use larder_types::ErrorCode;
    use proptest::{collection::vec, option, prelude::*, sample::select};
    use prost::Message as _;

    use super::*;
    use crate::samples;

    fn id() -> impl Strategy<Value = ObjectId> {
        (select(&ObjectKind::ALL[..]), samples::name()).prop_map(|(kind, name)| ObjectId { kind, name })
    }

    fn change() -> impl Strategy<Value = ChangeRequest> {
        let parts = (vec(samples::object(), 0..3), vec(id(), 0..3), option::of(any::<u64>()), ".*", ".*");
        (parts, any::<bool>()).prop_map(|((puts, removes, expected, origin, message), remove_missing)| {
            let expected_revision = expected.map(Revision);
            ChangeRequest { change: ChangeSet { puts, removes, expected_revision, origin, message }, remove_missing }
        })
    }

    fn object_change() -> impl Strategy<Value = ObjectChange> {
        let field =
            (".*", option::of(".*"), option::of(".*")).prop_map(|(path, old, new)| FieldChange { path, old, new });
        let kinds = [ChangeKind::Created, ChangeKind::Changed, ChangeKind::Removed];
        (id(), select(kinds.to_vec()), vec(field, 0..3)).prop_map(|(id, kind, fields)| ObjectChange {
            id,
            kind,
            fields,
        })
    }

    fn info() -> impl Strategy<Value = RevisionInfo> {
        let numbers = (any::<u64>(), any::<i64>(), option::of(any::<u64>()), any::<u32>(), any::<u32>());
        (numbers, ".*", ".*", ".*", ".*").prop_map(|(numbers, principal, address, origin, message)| RevisionInfo {
            revision: Revision(numbers.0),
            created_at: Timestamp::from_micros(numbers.1),
            principal,
            address,
            origin,
            message,
            rollback_to: numbers.2.map(Revision),
            puts: numbers.3,
            removes: numbers.4,
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn any_change_comes_back(change in change()) {
            let bytes = change.to_wire().encode_to_vec();
            let back = ChangeRequest::from_wire(api::ChangeSet::decode(&*bytes).unwrap(), &Path::ROOT).unwrap();
            prop_assert_eq!(back, change);
        }

        #[test]
        fn any_difference_comes_back(changes in vec(object_change(), 0..4)) {
            let message = diff_to_wire(&changes);
            prop_assert_eq!(diff_from_wire(Some(message), &Path::ROOT).unwrap(), changes);
        }

        #[test]
        fn what_is_said_of_a_revision_comes_back(info in info()) {
            prop_assert_eq!(RevisionInfo::from_wire(info.to_wire(), &Path::ROOT).unwrap(), info);
        }

        #[test]
        fn any_consequence_comes_back(object in id(), kind in 0..4_usize, message in ".*") {
            let kinds = [
                ConsequenceKind::MustMaterialize,
                ConsequenceKind::FullRunNeeded,
                ConsequenceKind::Retires,
                ConsequenceKind::Note,
            ];
            let consequence = Consequence { object, kind: kinds[kind], message };
            prop_assert_eq!(Consequence::from_wire(consequence.to_wire(), &Path::ROOT).unwrap(), consequence);
        }
    }

    #[test]
    fn a_kind_of_change_of_a_later_release_is_not_understood() {
        let message = api::ObjectChange { kind: 9, ..Default::default() };
        let error = ObjectChange::from_wire(message, &Path::ROOT).unwrap_err();
        assert_eq!((error.code(), &*error.violations()[0].field), (ErrorCode::Unimplemented, "kind"));
    }
}
