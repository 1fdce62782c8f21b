//! The one physical expression of this crate: a kernel applied to the values of its arguments.

use std::{
    fmt,
    hash::{Hash, Hasher},
    sync::Arc,
};

use arrow::{
    array::{ArrayRef, RecordBatch, RecordBatchOptions},
    datatypes::{DataType, Schema},
    error::ArrowError,
};
use datafusion_common::{Result, ScalarValue};
use datafusion_expr::ColumnarValue;
use datafusion_physical_expr::{PhysicalExpr, expressions::Literal};

/// Computes one value per row from its arguments. Total: it fails only where the machine does.
///
/// The number is the count of rows of the result; arguments are arrays of that length, or one value for all rows.
pub(crate) type Kernel = Arc<dyn Fn(&[ColumnarValue], usize) -> Result<ArrayRef, ArrowError> + Send + Sync>;

/// A part of an expression.
pub(crate) type Node = Arc<dyn PhysicalExpr>;

/// A kernel and its arguments.
#[derive(Clone)]
pub(crate) struct Call {
    name: &'static str,
    arguments: Vec<Node>,
    returns: DataType,
    kernel: Kernel,
}

/// A call, or its value where all arguments are literals.
pub(crate) fn call(name: &'static str, arguments: Vec<Node>, returns: DataType, kernel: Kernel) -> Result<Node> {
    fold(Arc::new(Call { name, arguments, returns, kernel }))
}

/// The literal that `node` is when all of its children are literals: computed by the code that would compute a row,
/// so folding cannot change a result.
pub(crate) fn fold(node: Node) -> Result<Node> {
    let children = node.children();
    if children.is_empty() || children.iter().any(|child| child.downcast_ref::<Literal>().is_none()) {
        return Ok(node);
    }
    let options = RecordBatchOptions::new().with_row_count(Some(1));
    let one_row = RecordBatch::try_new_with_options(Arc::new(Schema::empty()), Vec::new(), &options)?;
    let value = match node.evaluate(&one_row)? {
        ColumnarValue::Scalar(value) => value,
        ColumnarValue::Array(array) => ScalarValue::try_from_array(&array, 0)?,
    };
    Ok(Arc::new(Literal::new(value)))
}

/// The value of a literal.
pub(crate) fn literal_value(node: &Node) -> Option<&ScalarValue> {
    node.downcast_ref::<Literal>().map(Literal::value)
}

impl PhysicalExpr for Call {
    fn data_type(&self, _: &Schema) -> Result<DataType> {
        Ok(self.returns.clone())
    }

    fn nullable(&self, _: &Schema) -> Result<bool> {
        Ok(true)
    }

    fn evaluate(&self, batch: &RecordBatch) -> Result<ColumnarValue> {
        let arguments = self.arguments.iter().map(|argument| argument.evaluate(batch)).collect::<Result<Vec<_>>>()?;
        if arguments.iter().all(|argument| matches!(argument, ColumnarValue::Scalar(_))) {
            let array = (self.kernel)(&arguments, 1)?;
            return Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&array, 0)?));
        }
        Ok(ColumnarValue::Array((self.kernel)(&arguments, batch.num_rows())?))
    }

    fn children(&self) -> Vec<&Node> {
        self.arguments.iter().collect()
    }

    fn with_new_children(self: Arc<Self>, arguments: Vec<Node>) -> Result<Node> {
        Ok(Arc::new(Self { arguments, ..(*self).clone() }))
    }

    fn fmt_sql(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let arguments: Vec<_> = self.arguments.iter().map(ToString::to_string).collect();
        write!(f, "{}({})", self.name, arguments.join(", "))
    }
}

impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl PartialEq for Call {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.kernel, &other.kernel) && self.arguments == other.arguments
    }
}

impl Eq for Call {}

impl Hash for Call {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
        self.arguments.hash(state);
    }
}
