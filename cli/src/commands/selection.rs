//! Which features are asked for: what `online` and `train` share.

use larder_client::Asked;
use larder_types::{FeatureReference, Name};

use crate::failure::{Failure, Outcome};

/// A feature service, or references.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Features {
    /// Features instead of a service: view.feature, or view for all of a view; "view.feature as alias by key=column" for a
    /// view under an alias, found by other columns
    #[arg(long, value_name = "REFERENCE", value_delimiter = ',')]
    features: Vec<FeatureReference>,
    /// Name features view.feature
    #[arg(long)]
    pub(crate) full_names: bool,
}

impl Features {
    /// By the service or by the references; one of both must be given.
    pub(crate) fn selection(&self, service: Option<Name>) -> Outcome<Asked> {
        match (service, self.features.as_slice()) {
            (Some(service), []) => Ok(Asked::Service(service)),
            (None, []) => Err(Failure::usage(
                "which features? name a feature service, or say --features view.feature,… \
                 (`larder list feature-services` shows the services)",
            )),
            (None, references) => Ok(Asked::References(references.to_vec())),
            (Some(service), _) => {
                Err(Failure::usage(format!("ask for the service {service} or for --features, not for both")))
            }
        }
    }
}
