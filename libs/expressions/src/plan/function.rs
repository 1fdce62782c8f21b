//! Calls: functions of the list, and the syntax that SQL has for some of them.

use datafusion_common::ScalarValue;
use datafusion_sql::sqlparser::ast::{
    self, CeilFloorKind, DateTimeField, Expr, FunctionArg, FunctionArgExpr, FunctionArguments, TrimWhereField,
};
use larder_types::Error;

use super::{Planner, Typed};
use crate::{
    call::Kernel,
    functions::{self, Body, Function},
    inputs::hint,
    kernels::{
        arithmetic,
        choose::{Choice, choose},
    },
    kind::Kind,
    parse::{At, refuse},
    refused,
};

impl Planner<'_> {
    pub(super) fn function(&mut self, call: &ast::Function) -> Result<Typed, Error> {
        let [part] = &*call.name.0 else {
            return Err(Error::invalid_argument("a function has a plain name, without a schema"));
        };
        let Some(ident) = part.as_ident() else {
            return Err(Error::invalid_argument("a function has a plain name"));
        };
        let (name, at) = (ident.value.to_lowercase(), ident.span.into());
        if functions::find(&name).is_none() {
            return Err(refuse(at, unknown(&name)));
        }
        if call.over.is_some() {
            return Err(refuse(at, "window functions are not available: an expression sees one row"));
        }
        let arguments = arguments(call).ok_or_else(|| {
            refuse(at, format!("`{name}` is called with plain arguments: {}", functions::usage(&name)))
        })?;
        let arguments = self.plan_all(arguments)?;
        self.named(&name, arguments, at)
    }

    /// A function of the list with planned arguments.
    pub(crate) fn named(&mut self, name: &str, arguments: Vec<Typed>, at: At) -> Result<Typed, Error> {
        let Some(function) = functions::find(name) else { return Err(refuse(at, unknown(name))) };
        let (least, most) = function.arity();
        if arguments.len() < least || arguments.len() > most {
            let count = arguments.len();
            return Err(refuse(at, format!("`{name}` is called as {}, not with {count} arguments", function.usage)));
        }
        let mut result = self.body(function, arguments, at)?;
        result.at = at;
        Ok(result)
    }

    fn body(&mut self, function: &'static Function, arguments: Vec<Typed>, at: At) -> Result<Typed, Error> {
        let name = function.name();
        match function.body {
            Body::Float(f) => self.on_floats(name, arguments, Kind::FLOAT64, arithmetic::float(f)),
            Body::Float2(f) => self.on_floats(name, arguments, Kind::FLOAT64, arithmetic::float2(f)),
            Body::FloatTest(f) => self.on_floats(name, arguments, Kind::BOOL, arithmetic::float_test(f)),
            Body::Rows { parameters, function, .. } => {
                let parameters = parameters.iter().copied();
                let arguments = self.arguments(name, arguments, parameters)?;
                self.apply(name, arguments, Kind::scalar(function.returns()), function.kernel())
            }
            Body::Choice(choice) => {
                let (arguments, kind) = match choice {
                    Choice::Coalesce => self.unify(arguments, name)?,
                    Choice::Least | Choice::Greatest | Choice::NullIf => self.comparable(arguments, name)?,
                };
                if kind == Kind::Null { Ok(Typed::null(at)) } else { self.apply(name, arguments, kind, choose(choice)) }
            }
            Body::Special { plan, .. } => plan(self, arguments, at),
        }
    }

    fn on_floats(&self, name: &'static str, arguments: Vec<Typed>, kind: Kind, kernel: Kernel) -> Result<Typed, Error> {
        let arguments = self.arguments(name, arguments, std::iter::repeat(Kind::FLOAT64))?;
        self.apply(name, arguments, kind, kernel)
    }

    pub(super) fn arguments(
        &self,
        name: &str,
        arguments: Vec<Typed>,
        parameters: impl Iterator<Item = Kind>,
    ) -> Result<Vec<Typed>, Error> {
        let each = arguments.into_iter().zip(parameters).enumerate();
        each.map(|(at, (value, kind))| self.expect(value, kind, format_args!("argument {} of `{name}`", at + 1)))
            .collect()
    }

    /// A function that SQL also writes with words.
    pub(super) fn syntax<'t>(
        &mut self,
        name: &str,
        arguments: impl IntoIterator<Item = &'t Expr>,
    ) -> Result<Typed, Error> {
        let arguments = self.plan_all(arguments)?;
        let at = arguments.first().map_or(At::NOWHERE, |argument| argument.at);
        self.named(name, arguments, at)
    }

    pub(super) fn extract(&mut self, field: &DateTimeField, value: &Expr) -> Result<Typed, Error> {
        let value = self.plan(value)?;
        let at = value.at;
        let field = ScalarValue::Utf8(Some(field.to_string().to_lowercase()));
        self.named("date_part", vec![Typed::literal(field, Kind::STRING, at), value], at)
    }

    pub(super) fn rounded(&mut self, name: &str, value: &Expr, kind: &CeilFloorKind) -> Result<Typed, Error> {
        match kind {
            CeilFloorKind::DateTimeField(DateTimeField::NoDateTime) => self.syntax(name, [value]),
            CeilFloorKind::DateTimeField(_) | CeilFloorKind::Scale(_) => {
                Err(Error::invalid_argument(format!("`{name}` takes one number")))
            }
        }
    }

    pub(super) fn substring(
        &mut self,
        text: &Expr,
        from: Option<&Expr>,
        length: Option<&Expr>,
    ) -> Result<Typed, Error> {
        match from {
            Some(from) => self.syntax("substr", [text, from].into_iter().chain(length)),
            None => {
                let text = self.plan(text)?;
                let at = text.at;
                let mut arguments = vec![text, literal_one(at)];
                arguments.extend(self.plan_all(length)?);
                self.named("substr", arguments, at)
            }
        }
    }

    pub(super) fn trim(
        &mut self,
        side: Option<&TrimWhereField>,
        what: Option<&Expr>,
        text: &Expr,
        characters: Option<&[Expr]>,
    ) -> Result<Typed, Error> {
        let name = match side {
            None | Some(TrimWhereField::Both) => "btrim",
            Some(TrimWhereField::Leading) => "ltrim",
            Some(TrimWhereField::Trailing) => "rtrim",
        };
        self.syntax(name, std::iter::once(text).chain(what).chain(characters.unwrap_or_default()))
    }
}

fn literal_one(at: At) -> Typed {
    Typed::literal(ScalarValue::Int64(Some(1)), Kind::INT64, at)
}

/// The plain arguments of a call; none where it has anything else.
fn arguments(call: &ast::Function) -> Option<Vec<&Expr>> {
    let is_plain = call.filter.is_none()
        && call.null_treatment.is_none()
        && call.within_group.is_empty()
        && call.parameters == FunctionArguments::None;
    let FunctionArguments::List(list) = &call.args else { return None };
    if !is_plain || list.duplicate_treatment.is_some() || !list.clauses.is_empty() {
        return None;
    }
    #[expect(clippy::wildcard_enum_match_arm, reason = "the parser's enum: what is not plain is refused")]
    let plain = |argument| match argument {
        &FunctionArg::Unnamed(FunctionArgExpr::Expr(ref tree)) => Some(tree),
        _ => None,
    };
    list.args.iter().map(plain).collect()
}

fn unknown(name: &str) -> String {
    refused::reason(name).unwrap_or_else(|| {
        let near = hint(name, functions::names());
        let near = if near.starts_with(':') { near } else { ", which docs/expressions.md has".to_owned() };
        format!("`{name}` is not a function of the list{near}")
    })
}
