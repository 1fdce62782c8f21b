//! Online reads.

use std::sync::Arc;

use arrow::array::{ArrayRef, NullArray};
use futures::{Stream, StreamExt as _, stream::BoxStream};
use larder_contracts::{
    Path, Wire as _,
    columns::{decode, encode_named},
    serving::v1::{self as api, serving_service_client::ServingServiceClient},
    status::from_status,
    types::v1::{Column, NamedColumn},
};
use larder_definitions::Asked;
use larder_types::{ErrorCode, Name, Result, Revision, RowSetNumber, RowVersion, Status, Timestamp};

use crate::{
    Transport,
    call::{client, streaming, unary},
};

client! {
    /// Reads features of entities.
    ServingClient over ServingServiceClient<Transport>
}

/// Which features of which entities.
#[derive(Debug, Clone)]
pub struct OnlineRequest {
    /// The project.
    pub project: Name,
    /// A feature service, or references.
    pub features: Asked,
    /// Join keys by name, a row an entity.
    pub entities: Vec<(String, ArrayRef)>,
    /// Request data of on-demand features by name: a row an entity, or a single row for all.
    pub request_data: Vec<(String, ArrayRef)>,
    /// Whether features are named `view.feature`.
    pub full_names: bool,
    /// Whether the answer carries what a replay needs.
    pub include_replay: bool,
    /// The service waits until it knows this revision.
    pub min_revision: Revision,
    /// Rows asked for, where there are no entities; otherwise 0.
    pub rows: u32,
}

/// The features, in the order asked.
#[derive(Debug, Clone)]
pub struct OnlineAnswer {
    /// In the order asked.
    pub features: Vec<FeatureValues>,
    /// Where it was asked for.
    pub replay: Option<Replay>,
}

/// A feature of all entities, in the order asked.
#[derive(Debug, Clone)]
pub struct FeatureValues {
    /// The feature's name.
    pub name: String,
    /// Its values; all null where its type is one of a later release.
    pub values: ArrayRef,
    /// One byte an entity; empty where all are PRESENT.
    statuses: bytes::Bytes,
}

impl FeatureValues {
    /// The status of an entity's value. One of a later release is taken for NULL.
    pub fn status(&self, row: usize) -> Status {
        match self.statuses.get(row) {
            Some(byte) => Status::from_u8(*byte).unwrap_or(Status::Null),
            None if self.statuses.is_empty() => Status::Present,
            None => Status::Null,
        }
    }
}

/// What it takes to build the same answer again from history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replay {
    /// By which definitions.
    pub revision: Revision,
    /// By which instant the request was judged.
    pub instant: Timestamp,
    /// What computed on-demand features.
    pub engine_version: String,
    /// What was read of each use of a view.
    pub views: Vec<ViewReplay>,
}

/// What was read of one use of a view.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ViewReplay {
    /// The view, or its alias where it was used under one.
    pub name: String,
    /// The view.
    pub view: String,
    /// Where its rows lie.
    pub row_set: RowSetNumber,
    /// The version of each entity's row; none: there was none.
    pub versions: Vec<Option<RowVersion>>,
}

impl ServingClient {
    /// The values for all entities in one answer.
    pub async fn online_features(&self, request: &OnlineRequest) -> Result<OnlineAnswer> {
        let message = request_to_wire(request)?;
        let mut client = self.client.clone();
        let call = |request| async move { client.get_online_features(request).await };
        answer_from_wire(unary(self.deadline, message, call).await?)
    }

    /// An answer for each request, in order. A request that cannot be sent or answered ends the stream with its error.
    pub async fn stream_online_features(
        &self,
        requests: impl Stream<Item = OnlineRequest> + Send + 'static,
    ) -> Result<BoxStream<'static, Result<OnlineAnswer>>> {
        let (report, mut refused) = tokio::sync::oneshot::channel();
        let messages = async_stream::stream! {
            futures::pin_mut!(requests);
            while let Some(request) = requests.next().await {
                match request_to_wire(&request) {
                    Ok(request) => yield api::StreamOnlineFeaturesRequest { request: Some(request) },
                    Err(error) => {
                        let _ = report.send(error);
                        return;
                    }
                }
            }
        };
        let mut client = self.client.clone();
        let answers = streaming(self.deadline, async move { client.stream_online_features(messages).await }).await?;
        let read = |answer: std::result::Result<api::StreamOnlineFeaturesResponse, tonic::Status>| {
            let api::StreamOnlineFeaturesResponse { response } = answer.map_err(from_status)?;
            answer_from_wire(Path::ROOT.required("response", response)?)
        };
        let refused = futures::stream::once(async move { refused.try_recv().ok().map(Err) });
        Ok(answers.map(read).chain(refused.filter_map(std::future::ready)).boxed())
    }
}

fn request_to_wire(request: &OnlineRequest) -> Result<api::GetOnlineFeaturesRequest> {
    let OnlineRequest { project, features, entities, request_data, full_names, include_replay, min_revision, rows } =
        request;
    let features = match features {
        Asked::Service(name) => api::get_online_features_request::Features::FeatureService(name.to_string()),
        Asked::References(references) => {
            let references = references.iter().map(ToString::to_string).collect();
            api::get_online_features_request::Features::References(api::FeatureReferences { references })
        }
    };
    Ok(api::GetOnlineFeaturesRequest {
        project: project.to_string(),
        features: Some(features),
        entities: columns_to_wire(entities)?,
        request_data: columns_to_wire(request_data)?,
        full_names: *full_names,
        include_replay: *include_replay,
        min_revision: min_revision.0,
        rows: *rows,
    })
}

pub(crate) fn columns_to_wire(columns: &[(String, ArrayRef)]) -> Result<Vec<NamedColumn>> {
    columns.iter().map(|(name, array)| encode_named(name, array)).collect()
}

fn answer_from_wire(answer: api::GetOnlineFeaturesResponse) -> Result<OnlineAnswer> {
    let api::GetOnlineFeaturesResponse { features, replay } = answer;
    let features = features.into_iter().map(feature_from_wire).collect::<Result<_>>()?;
    Ok(OnlineAnswer { features, replay: replay.map(replay_from_wire).transpose()? })
}

fn feature_from_wire(feature: api::Feature) -> Result<FeatureValues> {
    let api::Feature { name, values, statuses } = feature;
    let at = Path::ROOT.field("features");
    let values: Column = at.field(&name).required("values", values)?;
    let rows = values.length as usize;
    if !statuses.is_empty() && statuses.len() != rows {
        let problem = format!("{rows} entities have {} statuses", statuses.len());
        return Err(at.field(&name).field("statuses").invalid(problem));
    }
    let values = match decode(values, &at.field(&name)) {
        Err(error) if error.code() == ErrorCode::Unimplemented => Arc::new(NullArray::new(rows)),
        other => other?,
    };
    Ok(FeatureValues { name, values, statuses })
}

fn replay_from_wire(replay: api::Replay) -> Result<Replay> {
    let api::Replay { revision, instant, engine_version, views } = replay;
    Ok(Replay {
        revision: Revision(revision),
        instant: Timestamp::from_micros(instant),
        engine_version,
        views: views.into_iter().map(view_from_wire).collect::<Result<_>>()?,
    })
}

fn view_from_wire(view: api::ViewReplay) -> Result<ViewReplay> {
    let api::ViewReplay { name, view, row_set, versions, found } = view;
    let at = Path::ROOT.field("replay");
    if versions.len() != found.len() {
        let problem = format!("{} versions, and {} say whether they were found", versions.len(), found.len());
        return Err(at.field(&name).invalid(problem));
    }
    let version = |(version, found)| Ok(if found { Some(RowVersion::from_wire(version, &at)?) } else { None });
    let versions = versions.into_iter().zip(found).map(version).collect::<Result<_>>()?;
    Ok(ViewReplay { name, view, row_set: RowSetNumber(row_set), versions })
}
