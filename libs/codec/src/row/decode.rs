//! Rows of any schema of a view into the columns that somebody wants.
//!
//! Where each wanted column lies in the rows of each schema is found once, when the decoder is made. Rows are checked as
//! they are pushed; then each column is gathered in one pass over them, by code made for its type.

use std::sync::Arc;

use arrow::array::ArrayRef;
use larder_types::{ColumnNumber, Error, Result, RowVersion, SchemaNumber, Status, Timestamp, ValueType};

use super::{Header, gather::gather, layout::Layout};
use crate::{RowSchema, row::layout::Place};

/// Reads rows of any of some schemas into wanted columns. Made once per plan; shared by any number of threads.
#[derive(Debug)]
pub struct RowDecoder {
    wanted: Vec<ValueType>,
    /// In the order of their schema numbers.
    plans: Vec<Plan>,
}

/// How to find the wanted columns in the rows of one schema.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) layout: Layout,
    /// Of each wanted column: its position in the schema, and its place. None where the schema lacks it.
    pub(super) slots: Vec<Option<(usize, Place)>>,
}

/// A wanted column, a value per row pushed.
#[derive(Debug, Clone)]
pub struct DecodedColumn {
    /// Of the type [`ValueType::arrow`] gives; null where the status is not [`Status::Present`].
    pub values: ArrayRef,
    /// A [`Status`] byte per row; `None` where all are [`Status::Present`].
    pub statuses: Option<Vec<u8>>,
}

/// Takes rows, then gives the wanted columns. It borrows the rows until then.
#[derive(Debug)]
pub struct ColumnsBuilder<'a> {
    decoder: &'a RowDecoder,
    entries: Vec<Entry<'a>>,
}

/// A row that was pushed.
#[derive(Debug, Clone, Copy)]
pub(super) enum Entry<'a> {
    /// Nothing to read: every column has this status.
    Absent(Status),
    /// A checked row, and which of the plans reads it.
    Row { row: &'a [u8], plan: usize },
}

impl RowDecoder {
    /// A decoder of rows of any of `schemas` into `wanted`, in that order; a column may be wanted several times.
    ///
    /// INVALID_ARGUMENT where two different schemas have one number, or a schema has a wanted column with another type.
    pub fn new(schemas: &[Arc<RowSchema>], wanted: &[(ColumnNumber, ValueType)]) -> Result<Self> {
        let mut schemas: Vec<_> = schemas.to_vec();
        schemas.sort_by_key(|schema| schema.number());
        schemas.dedup();
        if let Some(pair) = schemas.windows(2).find(|pair| pair[0].number() == pair[1].number()) {
            let number = pair[0].number();
            return Err(Error::invalid_argument(format!("two different schemas have number {number}")));
        }
        let plans = schemas.iter().map(|schema| Plan::new(schema, wanted)).collect::<Result<_>>()?;
        Ok(Self { wanted: wanted.iter().map(|(_, value_type)| *value_type).collect(), plans })
    }

    /// Starts columns with room for `rows`.
    pub fn columns(&self, rows: usize) -> ColumnsBuilder<'_> {
        ColumnsBuilder { decoder: self, entries: Vec::with_capacity(rows) }
    }

    /// Decodes `rows` at once, all judged by the same `oldest`, as [`ColumnsBuilder`] would.
    pub fn decode<'a>(
        &'a self,
        rows: impl IntoIterator<Item = Option<&'a [u8]>>,
        oldest: Option<Timestamp>,
    ) -> Result<Vec<DecodedColumn>> {
        let rows = rows.into_iter();
        let mut columns = self.columns(rows.size_hint().0);
        for row in rows {
            columns.push(row, oldest)?;
        }
        columns.finish()
    }

    fn plan(&self, schema: SchemaNumber) -> Result<usize> {
        self.plans.binary_search_by_key(&schema, |plan| plan.layout.schema).map_err(|_| {
            let known: Vec<_> = self.plans.iter().map(|plan| plan.layout.schema.to_string()).collect();
            Error::data_loss(format!(
                "an online row names schema {schema}, the view's schemas are {}",
                known.join(", ")
            ))
        })
    }
}

impl Plan {
    fn new(schema: &RowSchema, wanted: &[(ColumnNumber, ValueType)]) -> Result<Self> {
        let layout = Layout::new(schema);
        let slot = |(number, value_type): &(ColumnNumber, ValueType)| {
            let Some(position) = schema.position(*number) else { return Ok(None) };
            let found = schema.columns()[position].value_type;
            if found != *value_type {
                return Err(Error::invalid_argument(format!(
                    "column {number} is wanted as {value_type}, in schema {} it is {found}",
                    schema.number()
                )));
            }
            Ok(Some((position, layout.places[position])))
        };
        let slots = wanted.iter().map(slot).collect::<Result<_>>()?;
        Ok(Self { layout, slots })
    }
}

impl<'a> ColumnsBuilder<'a> {
    /// Adds a value to every column:
    ///
    /// - no row, or a deleted one: all are [`Status::NotFound`];
    /// - a row whose event time is before `oldest`: all are [`Status::OutsideMaxAge`];
    /// - otherwise a column that the row's schema lacks is [`Status::NotFound`], a null is [`Status::Null`].
    ///
    /// Answers the times of the row, deleted ones and old ones too. DATA_LOSS where it is damaged or names a schema that
    /// the decoder does not have, UNIMPLEMENTED where a newer release wrote it; then nothing was added.
    pub fn push(&mut self, row: Option<&'a [u8]>, oldest: Option<Timestamp>) -> Result<Option<RowVersion>> {
        let Some(row) = row else {
            self.entries.push(Entry::Absent(Status::NotFound));
            return Ok(None);
        };
        let header = Header::read(row)?;
        self.entries.push(if header.deleted {
            Entry::Absent(Status::NotFound)
        } else if oldest.is_some_and(|oldest| header.version.event_time < oldest) {
            Entry::Absent(Status::OutsideMaxAge)
        } else {
            let plan = self.decoder.plan(header.schema)?;
            self.decoder.plans[plan].layout.check(row)?;
            Entry::Row { row, plan }
        });
        Ok(Some(header.version))
    }

    /// The columns, in the order wanted. DATA_LOSS where a wanted value is damaged.
    pub fn finish(self) -> Result<Vec<DecodedColumn>> {
        let column = |(index, value_type): (usize, &ValueType)| {
            let cells = Cells { entries: &self.entries, plans: &self.decoder.plans, column: index };
            gather(*value_type, cells)
        };
        self.decoder.wanted.iter().enumerate().map(column).collect()
    }
}

/// One wanted column of all rows, before it is gathered.
#[derive(Clone, Copy)]
pub(super) struct Cells<'a> {
    entries: &'a [Entry<'a>],
    plans: &'a [Plan],
    column: usize,
}

impl<'a> Cells<'a> {
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// The bytes from the start of each value (of a variable one, exactly its bytes), or why there is none.
    pub(super) fn iter(self) -> impl Iterator<Item = Result<&'a [u8], Status>> {
        self.entries.iter().map(move |entry| match *entry {
            Entry::Absent(status) => Err(status),
            Entry::Row { row, plan } => self.plans[plan].value(row, self.column),
        })
    }
}

impl Plan {
    fn value<'a>(&self, row: &'a [u8], column: usize) -> Result<&'a [u8], Status> {
        let (position, place) = self.slots[column].ok_or(Status::NotFound)?;
        if self.layout.is_null(row, position) {
            return Err(Status::Null);
        }
        Ok(match place {
            Place::Fixed { at } => &row[at..],
            Place::Variable { index } => self.layout.variable(row, index),
        })
    }
}
