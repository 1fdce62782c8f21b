//! CASE, in both forms.

use std::sync::Arc;

use datafusion_physical_expr::expressions::CaseExpr;
use datafusion_sql::sqlparser::ast::{CaseWhen, Expr};
use larder_types::Error;

use super::{Planner, Typed, internal};
use crate::{
    call::{Node, fold},
    kind::Kind,
    parse::At,
};

impl Planner<'_> {
    pub(super) fn case(
        &mut self,
        operand: Option<&Expr>,
        branches: &[CaseWhen],
        otherwise: Option<&Expr>,
    ) -> Result<Typed, Error> {
        let conditions = branches.iter().map(|branch| &branch.condition);
        let (operand, conditions) = match operand {
            Some(operand) => self.matched(operand, conditions)?,
            None => (None, self.conditions(conditions)?),
        };
        let results = self.plan_all(branches.iter().map(|branch| &branch.result).chain(otherwise))?;
        let (results, kind) = self.unify(results, "CASE")?;
        let at = results.first().map_or(At::NOWHERE, |result| result.at);
        if kind == Kind::Null {
            return Ok(Typed::null(at));
        }
        let mut results = results.into_iter().map(|result| result.node);
        let when_then: Vec<_> = conditions.into_iter().zip(results.by_ref()).collect();
        let case = CaseExpr::try_new(operand, when_then, results.next()).map_err(internal)?;
        Ok(Typed::new(fold(Arc::new(case)).map_err(internal)?, kind, at))
    }

    /// `CASE operand WHEN value …`.
    fn matched<'t>(
        &mut self,
        operand: &Expr,
        values: impl Iterator<Item = &'t Expr>,
    ) -> Result<(Option<Node>, Vec<Node>), Error> {
        let mut all = vec![self.plan(operand)?];
        all.extend(self.plan_all(values)?);
        let (mut all, kind) = self.comparable(all, "CASE … WHEN")?;
        if kind == Kind::Null {
            all = all.into_iter().map(|value| self.convert(value, Kind::BOOL)).collect::<Result<_, _>>()?;
        }
        let mut nodes =
            all.into_iter().map(|value| Ok(self.ordered(value)?.node)).collect::<Result<Vec<_>, Error>>()?;
        let values = nodes.split_off(1);
        Ok((nodes.pop(), values))
    }

    /// `CASE WHEN condition …`.
    fn conditions<'t>(&mut self, conditions: impl Iterator<Item = &'t Expr>) -> Result<Vec<Node>, Error> {
        let planned = self.plan_all(conditions)?;
        planned
            .into_iter()
            .map(|condition| Ok(self.expect(condition, Kind::BOOL, "the condition of WHEN")?.node))
            .collect()
    }
}
