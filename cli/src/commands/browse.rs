//! `larder list`, `describe`, `search`, `lineage`: what there is, and where it comes from.

use std::sync::Arc;

use clap::ValueEnum;
use larder_client::LineageNode;
use larder_definitions::{Catalog, Object, ObjectId, ObjectKind, unknown_name};
use larder_types::{FeatureReference, Name};

use super::{Context, numbers};
use crate::{
    console::say,
    exit::Exit,
    failure::{Failure, Outcome},
    render::{
        lineage::LineageOf,
        objects::{Described, Features, Hits, Objects, Projects},
    },
};

/// List what is declared, by kind
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  larder list features")]
pub(crate) struct ListArguments {
    /// What to list
    kind: Listed,
}

/// What can be listed: by the names that help shows, by those of the sections of a definition file, and by those that JSON
/// has for one of a kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Listed {
    /// Every project of the registry
    #[value(alias = "project")]
    Projects,
    /// What features are about
    #[value(alias = "entity")]
    Entities,
    /// Where rows come from
    #[value(alias = "source")]
    Sources,
    /// Views whose rows are stored
    #[value(aliases = ["views", "view", "feature_views", "feature-view", "feature_view"])]
    FeatureViews,
    /// Views that are computed when they are asked for
    #[value(aliases = [
        "on-demand-views", "on-demand-view", "on_demand_views", "on_demand_view",
        "on_demand_feature_views", "on-demand-feature-view", "on_demand_feature_view",
    ])]
    OnDemandFeatureViews,
    /// What models read
    #[value(aliases = ["services", "service", "feature_services", "feature-service", "feature_service"])]
    FeatureServices,
    /// The features of all views
    #[value(alias = "feature")]
    Features,
}

/// Show an object, or a feature, in full
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  larder describe customer_features")]
pub(crate) struct DescribeArguments {
    /// Its name; of a feature, view.feature
    name: FeatureReference,
}

/// Find objects and features by words in names, descriptions, owners and tags
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  larder search late payment")]
pub(crate) struct SearchArguments {
    /// The words
    #[arg(required = true)]
    words: Vec<String>,
    /// At most so many, best first
    #[arg(long, short, default_value_t = 20, value_parser = numbers::count, allow_negative_numbers = true)]
    limit: u32,
}

/// Show what something is made from, and what is made from it
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  larder lineage customer_features.income")]
pub(crate) struct LineageArguments {
    /// An object; of a feature, view.feature
    name: FeatureReference,
}

pub(crate) async fn list(context: &Context, arguments: ListArguments) -> Outcome {
    let kind = match arguments.kind {
        Listed::Projects => return list_projects(context).await,
        Listed::Features => {
            let catalog = catalog(context).await?;
            let is_empty = catalog.feature_views.is_empty() && catalog.on_demand_feature_views.is_empty();
            none_there(context, is_empty, &format!("Project {} has no features.", catalog.project));
            context.console.report(&Features(&catalog))?;
            return Ok(Exit::Ok);
        }
        Listed::Entities => ObjectKind::Entity,
        Listed::Sources => ObjectKind::Source,
        Listed::FeatureViews => ObjectKind::FeatureView,
        Listed::OnDemandFeatureViews => ObjectKind::OnDemandFeatureView,
        Listed::FeatureServices => ObjectKind::FeatureService,
    };
    let catalog = catalog(context).await?;
    let is_empty = !catalog.objects().any(|object| object.id().kind == kind);
    none_there(context, is_empty, &format!("Project {} has no {}.", catalog.project, kind.plural()));
    context.console.report(&Objects { catalog: &catalog, kind })?;
    Ok(Exit::Ok)
}

async fn list_projects(context: &Context) -> Outcome {
    let registry = context.services.registry()?;
    let projects = registry.explain(registry.client.projects().await)?;
    none_there(context, projects.is_empty(), "The registry has no projects: `larder apply` makes the first.");
    context.console.report(&Projects(projects))?;
    Ok(Exit::Ok)
}

pub(crate) async fn describe(context: &Context, arguments: DescribeArguments) -> Outcome {
    let catalog = catalog(context).await?;
    let FeatureReference { view, feature, .. } = arguments.name;
    let mut objects = named(&catalog, &view)?;
    if let Some(feature) = feature {
        objects = objects.into_iter().filter_map(|object| with_feature_only(object, &feature)).collect();
        if objects.is_empty() {
            return Err(unknown_feature(&catalog, &view, &feature));
        }
    }
    context.console.report(&Described { catalog: &catalog, objects })?;
    Ok(Exit::Ok)
}

pub(crate) async fn search(context: &Context, arguments: SearchArguments) -> Outcome {
    let project = context.project()?;
    let registry = context.services.registry()?;
    let hits = registry.client.search(&project, &arguments.words.join(" "), arguments.limit).await;
    let hits = registry.explain(hits)?;
    if hits.is_empty() && context.console.is_table() {
        say("Nothing was found.");
    }
    context.console.report(&Hits(hits))?;
    Ok(Exit::Ok)
}

pub(crate) async fn lineage(context: &Context, arguments: LineageArguments) -> Outcome {
    let catalog = catalog(context).await?;
    let FeatureReference { view, feature, .. } = arguments.name;
    let objects = named(&catalog, &view)?;
    // Of objects of different kinds and one name, the one that has lineage of its own: a view before its namesakes.
    let id = objects
        .iter()
        .map(Object::id)
        .max_by_key(|id| id.kind)
        .unwrap_or(ObjectId { kind: ObjectKind::FeatureView, name: view });
    let column = feature.as_ref().map(Name::as_str);
    let registry = context.services.registry()?;
    let graph = registry.explain(registry.client.lineage(&catalog.project, &id, column).await)?;
    let of = LineageNode { id, column: column.map(str::to_owned) };
    context.console.report(&LineageOf { of, graph })?;
    Ok(Exit::Ok)
}

/// Tells people that there is nothing to list: they would see nothing at all.
fn none_there(context: &Context, is_empty: bool, message: &str) {
    if is_empty && context.console.is_table() {
        say(message);
    }
}

/// The newest catalog of the project.
pub(crate) async fn catalog(context: &Context) -> Outcome<Arc<Catalog>> {
    let project = context.project()?;
    let registry = context.services.registry()?;
    registry.explain(registry.client.catalog(&project, None).await)
}

/// The objects of that name: one of each kind at most.
fn named(catalog: &Catalog, name: &Name) -> Outcome<Vec<Object>> {
    let all: Vec<Object> = catalog.objects().collect();
    let found: Vec<Object> = all.iter().filter(|object| object.id().name == *name).cloned().collect();
    if !found.is_empty() {
        return Ok(found);
    }
    let ids: Vec<ObjectId> = all.iter().map(Object::id).collect();
    let known: Vec<&str> = ids.iter().map(|id| id.name.as_str()).collect();
    let place = format!("project {} at revision {}", catalog.project, catalog.revision);
    Err(Failure::Error(unknown_name(&place, "object", name.as_str(), &known)))
}

/// A view with that feature alone; none where it has no such feature.
fn with_feature_only(object: Object, feature: &Name) -> Option<Object> {
    match object {
        Object::FeatureView(mut view) => {
            view.features.retain(|known| known.name == *feature);
            (!view.features.is_empty()).then_some(Object::FeatureView(view))
        }
        Object::OnDemandFeatureView(mut view) => {
            view.features.retain(|known| known.name == *feature);
            (!view.features.is_empty()).then_some(Object::OnDemandFeatureView(view))
        }
        Object::Entity(_) | Object::Source(_) | Object::FeatureService(_) => None,
    }
}

fn unknown_feature(catalog: &Catalog, view: &Name, feature: &Name) -> Failure {
    let stored = catalog.feature_views.get(view).into_iter().flat_map(|view| &view.definition.features);
    let computed = catalog.on_demand_feature_views.get(view).into_iter().flat_map(|view| &view.features);
    let known = stored.map(|feature| feature.name.as_str()).chain(computed.map(|feature| feature.name.as_str()));
    Failure::Error(unknown_name(&format!("`{view}`"), "feature", feature.as_str(), &known.collect::<Vec<_>>()))
}
