//! Definitions in and out.

use std::sync::Arc;

use futures::TryStreamExt as _;
use larder_contracts::{
    Path, Wire as _,
    catalog::Assembler,
    explore::{Lineage, SearchHit},
    registry::v1::{self as api, registry_service_client::RegistryServiceClient},
    revisions::{ChangeRequest, RevisionInfo, diff_from_wire},
    status::from_status,
};
use larder_definitions::{Catalog, Consequence, Diff, Object, ObjectChange, ObjectId, ObjectKind, Plan};
use larder_types::{Error, KeySpaceNumber, Name, ProjectNumber, Result, Revision, RowSetNumber, SchemaNumber};

use crate::{
    Transport,
    call::{client, streaming, unary},
};

client! {
    /// Plans and applies changes, and reads what is declared.
    RegistryClient over RegistryServiceClient<Transport>
}

/// What an apply did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    /// The revision that shows it.
    pub revision: Revision,
    /// False: everything was so already, and the revision is the one that was there.
    pub changed: bool,
    /// What it changed.
    pub changes: Vec<ObjectChange>,
    /// What should be done because of it.
    pub consequences: Vec<Consequence>,
}

/// Which revision's definitions are wanted back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rollback {
    /// Whose definitions.
    pub to: Revision,
    /// The revision that the caller has seen: with another one, nothing is done.
    pub expected_revision: Option<Revision>,
    /// Who asks.
    pub origin: String,
    /// For people.
    pub message: String,
}

/// What a rollback did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RolledBack {
    /// The revision that shows it.
    pub revision: Revision,
    /// What it changed.
    pub changes: Vec<ObjectChange>,
    /// What should be done because of it.
    pub consequences: Vec<Consequence>,
}

/// A project that the registry has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Project {
    /// Its name.
    pub name: Name,
    /// Its number.
    pub number: ProjectNumber,
    /// Its newest revision.
    pub revision: Revision,
}

/// An object, and what the registry knows of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Declared {
    /// The revision that was read.
    pub revision: Revision,
    /// The object.
    pub object: Object,
    /// Who declares it.
    pub origin: String,
    /// Key space, row set and schema, of a feature view.
    pub numbers: Option<(KeySpaceNumber, RowSetNumber, SchemaNumber)>,
}

/// Some objects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectPage {
    /// The revision that was read.
    pub revision: Revision,
    /// In the order of kinds, by name.
    pub objects: Vec<Object>,
    /// For the next page; none: that was all.
    pub next_page_token: Option<String>,
}

/// Some revisions, newest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RevisionPage {
    /// Newest first.
    pub revisions: Vec<RevisionInfo>,
    /// For the next page; none: that was all.
    pub next_page_token: Option<String>,
}

impl RegistryClient {
    /// What `change` would do. Changes nothing.
    pub async fn plan(&self, project: &Name, change: &ChangeRequest) -> Result<Plan> {
        let message = api::PlanRequest { project: project.to_string(), change: Some(change.to_wire()) };
        let mut client = self.client.clone();
        let answer = unary(self.deadline, message, |request| async move { client.plan(request).await }).await?;
        let api::PlanResponse { revision, diff, consequences, unchanged } = answer;
        Ok(Plan {
            base: Revision(revision),
            changes: diff_from_wire(diff, &Path::ROOT)?,
            unchanged: Path::ROOT.read_all("unchanged", unchanged)?,
            consequences: Path::ROOT.read_all("consequences", consequences)?,
        })
    }

    /// Makes a revision of `change`. CONFLICT where another apply came first.
    pub async fn apply(&self, project: &Name, change: &ChangeRequest) -> Result<Applied> {
        let message = api::ApplyRequest { project: project.to_string(), change: Some(change.to_wire()) };
        let mut client = self.client.clone();
        let answer = unary(self.deadline, message, |request| async move { client.apply(request).await }).await?;
        let api::ApplyResponse { revision, changed, diff, consequences } = answer;
        Ok(Applied {
            revision: Revision(revision),
            changed,
            changes: diff_from_wire(diff, &Path::ROOT)?,
            consequences: Path::ROOT.read_all("consequences", consequences)?,
        })
    }

    /// What [`RegistryClient::rollback`] would do, and the revision it was planned against. Changes nothing.
    pub async fn plan_rollback(&self, project: &Name, rollback: &Rollback) -> Result<RolledBack> {
        self.roll_back(project, rollback, true).await
    }

    /// Makes a revision with the definitions of an earlier one; of revision 0, with none.
    pub async fn rollback(&self, project: &Name, rollback: &Rollback) -> Result<RolledBack> {
        self.roll_back(project, rollback, false).await
    }

    async fn roll_back(&self, project: &Name, rollback: &Rollback, dry_run: bool) -> Result<RolledBack> {
        let Rollback { to, expected_revision, origin, message } = rollback.clone();
        let message = api::RollbackRequest {
            project: project.to_string(),
            to_revision: to.0,
            expected_revision: expected_revision.map(|revision| revision.0),
            message,
            origin,
            dry_run,
        };
        let mut client = self.client.clone();
        let answer = unary(self.deadline, message, |request| async move { client.rollback(request).await }).await?;
        let api::RollbackResponse { revision, diff, consequences } = answer;
        Ok(RolledBack {
            revision: Revision(revision),
            changes: diff_from_wire(diff, &Path::ROOT)?,
            consequences: Path::ROOT.read_all("consequences", consequences)?,
        })
    }

    /// Every project.
    pub async fn projects(&self) -> Result<Vec<Project>> {
        let mut client = self.client.clone();
        let message = api::ListProjectsRequest {};
        let answer =
            unary(self.deadline, message, |request| async move { client.list_projects(request).await }).await?;
        let api::ListProjectsResponse { projects } = answer;
        let read = |api::Project { name, number, revision }| {
            let name = Path::ROOT.field("projects").name("name", &name)?;
            Ok(Project { name, number: ProjectNumber(number), revision: Revision(revision) })
        };
        projects.into_iter().map(read).collect()
    }

    /// An object at a revision; none: the newest. NOT_FOUND names near ones.
    pub async fn object(&self, project: &Name, id: &ObjectId, revision: Option<Revision>) -> Result<Declared> {
        let (project, id) = (project.to_string(), Some(id.to_wire()));
        let message = api::GetObjectRequest { project, id, revision: number(revision) };
        let mut client = self.client.clone();
        let answer = unary(self.deadline, message, |request| async move { client.get_object(request).await }).await?;
        let api::GetObjectResponse { revision, object, state } = answer;
        let api::ObjectState { origin, key_space, row_set, schema } = state.unwrap_or_default();
        let numbers = (KeySpaceNumber(key_space), RowSetNumber(row_set), SchemaNumber(schema));
        Ok(Declared {
            revision: Revision(revision),
            object: Path::ROOT.read("object", object)?,
            origin,
            numbers: (row_set > 0).then_some(numbers),
        })
    }

    /// Objects of a kind, or of all kinds, at a revision. `page_token`: what the page before gave; empty: the first.
    pub async fn objects(
        &self,
        project: &Name,
        kind: Option<ObjectKind>,
        revision: Option<Revision>,
        page_token: &str,
    ) -> Result<ObjectPage> {
        let message = api::ListObjectsRequest {
            project: project.to_string(),
            kind: kind.map_or(0, |kind| kind.to_wire()),
            revision: number(revision),
            page_size: 0,
            page_token: page_token.to_owned(),
        };
        let mut client = self.client.clone();
        let answer = unary(self.deadline, message, |request| async move { client.list_objects(request).await }).await?;
        let api::ListObjectsResponse { revision, objects, next_page_token } = answer;
        Ok(ObjectPage {
            revision: Revision(revision),
            objects: Path::ROOT.read_all("objects", objects)?,
            next_page_token: token(next_page_token),
        })
    }

    /// The whole catalog of a revision; none: the newest. The deadline is for all of it.
    pub async fn catalog(&self, project: &Name, revision: Option<Revision>) -> Result<Arc<Catalog>> {
        let message = api::GetCatalogRequest { project: project.to_string(), revision: number(revision) };
        let late = |_| Error::deadline_exceeded(format!("no whole catalog came within {:?}", self.deadline));
        tokio::time::timeout(self.deadline, self.read_catalog(message)).await.map_err(late)?
    }

    async fn read_catalog(&self, message: api::GetCatalogRequest) -> Result<Arc<Catalog>> {
        let mut client = self.client.clone();
        let mut pieces = streaming(self.deadline, async move { client.get_catalog(message).await }).await?;
        let mut assembler = Assembler::whole(None);
        while let Some(api::GetCatalogResponse { piece }) = pieces.try_next().await.map_err(from_status)? {
            if let Some(catalog) = assembler.add(Path::ROOT.required("piece", piece)?)? {
                return Ok(Arc::new(catalog));
            }
        }
        Err(Error::unavailable("the stream of a catalog ended before its last piece"))
    }

    /// Revisions, newest first. `page_token`: what the page before gave; empty: the first.
    pub async fn revisions(&self, project: &Name, page_size: u32, page_token: &str) -> Result<RevisionPage> {
        let (project, page_token) = (project.to_string(), page_token.to_owned());
        let message = api::ListRevisionsRequest { project, page_size, page_token };
        let mut client = self.client.clone();
        let answer =
            unary(self.deadline, message, |request| async move { client.list_revisions(request).await }).await?;
        let api::ListRevisionsResponse { revisions, next_page_token } = answer;
        let revisions = Path::ROOT.read_all("revisions", revisions)?;
        Ok(RevisionPage { revisions, next_page_token: token(next_page_token) })
    }

    /// What differs in `to` from `from`; none: the newest. In revision 0 nothing was declared.
    pub async fn diff(&self, project: &Name, from: Revision, to: Option<Revision>) -> Result<Diff> {
        let (project, to) = (project.to_string(), to.map(|revision| revision.0));
        let message = api::DiffRevisionsRequest { project, from: from.0, to };
        let mut client = self.client.clone();
        let answer =
            unary(self.deadline, message, |request| async move { client.diff_revisions(request).await }).await?;
        let api::DiffRevisionsResponse { from, to, diff } = answer;
        Ok(Diff { from: Revision(from), to: Revision(to), changes: diff_from_wire(diff, &Path::ROOT)? })
    }

    /// What has the words of `query` in names, descriptions, owners or tags, best first. A limit of 0: the service's.
    pub async fn search(&self, project: &Name, query: &str, limit: u32) -> Result<Vec<SearchHit>> {
        let message = api::SearchRequest { project: project.to_string(), query: query.to_owned(), limit };
        let mut client = self.client.clone();
        let answer = unary(self.deadline, message, |request| async move { client.search(request).await }).await?;
        let api::SearchResponse { revision: _, hits } = answer;
        Path::ROOT.read_all("hits", hits)
    }

    /// What an object, or one of its features, is made from, and what is made from it.
    pub async fn lineage(&self, project: &Name, id: &ObjectId, feature: Option<&str>) -> Result<Lineage> {
        let message = api::GetLineageRequest {
            project: project.to_string(),
            id: Some(id.to_wire()),
            feature: feature.unwrap_or_default().to_owned(),
        };
        let mut client = self.client.clone();
        let answer = unary(self.deadline, message, |request| async move { client.get_lineage(request).await }).await?;
        let api::GetLineageResponse { revision: _, nodes, edges } = answer;
        Lineage::from_wire(nodes, edges, &Path::ROOT)
    }
}

fn number(revision: Option<Revision>) -> u64 {
    revision.map_or(0, |revision| revision.0)
}

fn token(text: String) -> Option<String> {
    Some(text).filter(|text| !text.is_empty())
}
