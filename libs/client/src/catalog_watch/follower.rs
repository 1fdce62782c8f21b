//! The task behind a watch: opens streams, puts catalogs together, and decides when a stream is dead.

use std::{sync::Arc, time::Duration};

use futures::StreamExt as _;
use larder_contracts::{
    TRANSPORT_MESSAGE_LIMIT,
    catalog::Assembler,
    registry::v1::{self as api, registry_service_client::RegistryServiceClient, watch_catalog_response::Event},
    status::from_status,
};
use larder_definitions::Catalog;
use larder_types::{Error, ErrorCode, Name, Result, Revision};
use tokio::{sync::watch, time::Instant};
use tonic::Streaming;

use super::{CatalogWatchOptions, Contact, state_file::StateFile};
use crate::{Transport, call::streaming};

const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_millis(800);

/// Keeps a [`super::CatalogWatch`] up to date while [`CatalogFollower::run`] is polled.
#[derive(Debug)]
pub struct CatalogFollower {
    client: RegistryServiceClient<Transport>,
    project: Name,
    options: CatalogWatchOptions,
    state: Option<StateFile>,
    catalog: watch::Sender<Option<Arc<Catalog>>>,
    contact: watch::Sender<Contact>,
    /// Streams that ended, since what was here was the newest.
    failures: u32,
    /// Whether the next stream is to bring the whole.
    ask_whole: bool,
    /// When the registry said of itself that it was going, since then.
    left_at: Option<Instant>,
    /// Whether it was said that something is wrong, since then.
    has_warned: bool,
}

/// Why a stream ended.
enum Ended {
    /// The registry said that it stops, or that it cannot be had at the moment: it comes back, or another is there.
    Orderly(Error),
    /// Anything else.
    Broken(Error),
}

impl Ended {
    /// What a registry says itself has no cause; of a status that the transport made, that status is the cause.
    fn by(error: Error) -> Self {
        let is_said = error.code() == ErrorCode::Unavailable && std::error::Error::source(&error).is_none();
        if is_said { Self::Orderly(error) } else { Self::Broken(error) }
    }
}

impl From<Error> for Ended {
    fn from(error: Error) -> Self {
        Self::Broken(error)
    }
}

impl CatalogFollower {
    pub(super) fn new(
        transport: Transport,
        project: Name,
        options: CatalogWatchOptions,
    ) -> (Self, watch::Receiver<Option<Arc<Catalog>>>, watch::Receiver<Contact>) {
        let state = options.state_folder.as_ref().map(|folder| StateFile::new(folder, &project));
        let kept = state.as_ref().and_then(|state| state.read(&project)).map(Arc::new);
        let (catalog, catalogs) = watch::channel(kept);
        let (contact, contacts) = watch::channel(Contact::default());
        let client = RegistryServiceClient::new(transport).max_decoding_message_size(TRANSPORT_MESSAGE_LIMIT);
        // A kept catalog is to serve from, not to build upon: the release that wrote it may have left out what this one
        // understands. So the first stream always brings the whole.
        let follower = Self {
            client,
            project,
            options,
            state,
            catalog,
            contact,
            failures: 0,
            ask_whole: true,
            left_at: None,
            has_warned: false,
        };
        (follower, catalogs, contacts)
    }

    /// Follows until it is dropped.
    pub async fn run(mut self) {
        loop {
            let ended = match self.follow().await {
                Ok(never) => match never {},
                Err(ended) => ended,
            };
            self.failures += 1;
            let error = self.tell(ended);
            self.contact.send_modify(|contact| contact.problem = Some(error.to_string().into()));
            tokio::time::sleep(pause(self.failures)).await;
        }
    }

    /// Says that a stream ended. A registry that stops in order is no reason for a warning, nor is it that nobody answers
    /// in its place, until it has been away for as long as a silent stream is waited for.
    fn tell(&mut self, ended: Ended) -> Error {
        let (project, failures) = (&self.project, self.failures);
        let is_expected = self.left_at.is_some_and(|at| at.elapsed() < self.options.silence());
        match ended {
            Ended::Orderly(error) if self.left_at.is_none() => {
                self.left_at = Some(Instant::now());
                tracing::info!(%project, %error, "the registry ended the stream of catalogs; it is opened anew");
                error
            }
            Ended::Orderly(error) | Ended::Broken(error) => {
                if is_expected || self.has_warned {
                    tracing::debug!(%project, %error, failures, "the stream of catalogs ended again");
                } else {
                    self.has_warned = true;
                    tracing::warn!(%project, %error, failures, "the stream of catalogs ended; it is opened anew");
                }
                error
            }
        }
    }

    /// One stream, to its end.
    async fn follow(&mut self) -> Result<std::convert::Infallible, Ended> {
        let mut stream = self.open().await.map_err(Ended::by)?;
        let mut reader = Reader { assembler: None, strayed: 0 };
        loop {
            let next = tokio::time::timeout(self.options.silence(), stream.next()).await;
            let message = next.map_err(|_| Error::unavailable("the registry was silent for three heartbeats"))?;
            let message = message.ok_or_else(|| Error::unavailable("the registry ended the stream"))?;
            let message = message.map_err(|status| Ended::by(from_status(status)))?;
            let api::WatchCatalogResponse { event } = message;
            self.contact.send_modify(|contact| contact.heard_at = Some(Instant::now()));
            let here = self.here();
            match reader.take(event, here.as_ref())? {
                Step::Go => {}
                Step::Current => self.settle(),
                Step::Publish(catalog) => self.publish(Arc::new(*catalog)).await,
                Step::AskWhole => {
                    self.ask_whole = true;
                    let why = "the registry is at a lower revision than the one that is here";
                    return Err(Error::unavailable(why).into());
                }
            }
        }
    }

    async fn open(&mut self) -> Result<Streaming<api::WatchCatalogResponse>> {
        // What does not fit twice is not mended by more changes.
        let whole = self.ask_whole || self.failures > 1;
        let since = self.here().filter(|_| !whole).map_or(Revision(0), |catalog| catalog.revision);
        let message = api::WatchCatalogRequest { project: self.project.to_string(), since: since.0 };
        let mut client = self.client.clone();
        streaming(self.options.silence(), async move { client.watch_catalog(message).await }).await
    }

    /// What is here is what the registry has.
    fn settle(&mut self) {
        self.failures = 0;
        self.left_at = None;
        self.has_warned = false;
        self.contact.send_modify(|contact| contact.problem = None);
    }

    fn here(&self) -> Option<Arc<Catalog>> {
        self.catalog.borrow().clone()
    }

    async fn publish(&mut self, catalog: Arc<Catalog>) {
        self.ask_whole = false;
        self.settle();
        tracing::info!(project = %self.project, revision = %catalog.revision, "new catalog");
        for (name, why) in &catalog.not_understood {
            tracing::warn!(project = %self.project, %name, %why, "left out of the catalog");
        }
        self.catalog.send_replace(Some(catalog.clone()));
        if let Some(state) = self.state.clone() {
            // A catalog that cannot be kept is served all the same.
            let kept = tokio::task::spawn_blocking(move || state.write(&catalog)).await;
            if let Ok(Err(error)) = kept {
                tracing::warn!(project = %self.project, %error, "the catalog could not be kept");
            }
        }
    }
}

/// What is to be done with a message.
enum Step {
    Go,
    Current,
    Publish(Box<Catalog>),
    AskWhole,
}

/// What was read of one stream.
struct Reader {
    assembler: Option<(Kind, Assembler)>,
    /// Heartbeats in a row that told of another revision than the one that is here.
    strayed: u32,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Whole,
    Change,
}

impl Reader {
    /// An error means that the stream is of no more use.
    fn take(&mut self, event: Option<Event>, here: Option<&Arc<Catalog>>) -> Result<Step> {
        match event {
            Some(Event::Whole(piece)) => self.add(Kind::Whole, piece, here),
            Some(Event::Change(piece)) => self.add(Kind::Change, piece, here),
            Some(Event::Heartbeat(api::Heartbeat { revision })) => self.heartbeat(Revision(revision), here),
            // Of a later release.
            None => Ok(Step::Go),
        }
    }

    fn add(&mut self, kind: Kind, piece: api::CatalogPiece, here: Option<&Arc<Catalog>>) -> Result<Step> {
        let is_open = self.assembler.is_some();
        if kind == Kind::Change && !is_open && here.is_some_and(|here| here.revision.0 >= piece.revision) {
            return Ok(Step::Go);
        }
        let begin = || match (kind, here) {
            (Kind::Whole, here) => Ok((kind, Assembler::whole(here.cloned()))),
            (Kind::Change, Some(here)) => Ok((kind, Assembler::change(here.clone()))),
            (Kind::Change, None) => Err(Error::unavailable("the registry sent a change of what is not here")),
        };
        let (open, mut assembler) = match self.assembler.take() {
            Some(begun) => begun,
            None => begin()?,
        };
        if open != kind {
            return Err(Error::unavailable("the registry sent pieces of a whole catalog and of a change in one"));
        }
        match assembler.add(piece)? {
            Some(catalog) => {
                self.strayed = 0;
                Ok(Step::Publish(Box::new(catalog)))
            }
            None => {
                self.assembler = Some((open, assembler));
                Ok(Step::Go)
            }
        }
    }

    /// One heartbeat may be told on the way of a change; a second one tells that the change was lost.
    fn heartbeat(&mut self, revision: Revision, here: Option<&Arc<Catalog>>) -> Result<Step> {
        let here = here.map(|here| here.revision);
        if here == Some(revision) || self.assembler.is_some() {
            self.strayed = 0;
            return Ok(if self.assembler.is_some() { Step::Go } else { Step::Current });
        }
        self.strayed += 1;
        match here {
            _ if self.strayed < 2 => Ok(Step::Go),
            Some(here) if here > revision => Ok(Step::AskWhole),
            Some(_) | None => {
                Err(Error::unavailable(format!("the registry is at revision {revision} and did not send it")))
            }
        }
    }
}

/// Doubles from a twentieth of a second, below a second; no two readers in step.
fn pause(failures: u32) -> Duration {
    let doubled = FIRST_PAUSE.saturating_mul(1 << failures.saturating_sub(1).min(6)).min(LONGEST_PAUSE);
    doubled.mul_f64(rand::random_range(0.75..1.2))
}
