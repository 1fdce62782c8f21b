//! What the expressions of an on-demand feature view may read: one list, in one order, for validation, lineage, serving
//! and training.

use larder_expressions::Input;
use larder_types::Result;

use crate::{Catalog, FeatureView, OnDemandFeatureView, ResolvedView};

/// The features of the input views, in the order of the inputs and of their definitions, then the request data.
pub(crate) fn expression_inputs<'a>(
    view: &OnDemandFeatureView,
    input_views: impl IntoIterator<Item = &'a FeatureView>,
) -> Vec<Input> {
    let features = input_views.into_iter().flat_map(|input| {
        input.features.iter().map(|feature| Input {
            view: Some(input.name.clone()),
            name: feature.name.clone(),
            value_type: feature.value_type,
        })
    });
    let request =
        view.request.iter().map(|field| Input { view: None, name: field.name.clone(), value_type: field.value_type });
    features.chain(request).collect()
}

impl Catalog {
    /// [`expression_inputs`] of a view of this catalog.
    pub fn expression_inputs(&self, view: &OnDemandFeatureView) -> Result<Vec<Input>> {
        let views: Vec<&ResolvedView> = view
            .inputs
            .iter()
            .map(|name| self.feature_view(name.as_str()).map(|view| &**view))
            .collect::<Result<_>>()?;
        Ok(expression_inputs(view, views.into_iter().map(|view| &view.definition)))
    }
}
