//! Where the services are, and what is said when one cannot be reached.

use std::{error::Error as _, time::Duration};

use larder_client::{MaterializerClient, PushClient, RegistryClient, ServingClient, Transport};
use larder_types::{Error, ErrorCode, Name, Result, Revision};

use crate::{
    arguments::Addresses,
    failure::{Failure, Outcome},
};

/// How long a call may take: more than the services' own limit for calls without a deadline.
const DEADLINE: Duration = Duration::from_secs(60);

/// The way to every service.
#[derive(Debug, Clone)]
pub(crate) struct Services {
    addresses: Addresses,
}

/// A client, and how to speak of the service it calls.
#[derive(Debug, Clone)]
pub(crate) struct Reached<C> {
    pub(crate) client: C,
    service: &'static str,
    flag: &'static str,
    address: String,
}

impl Services {
    /// At these addresses. Nothing is connected before the first call.
    pub(crate) fn at(addresses: &Addresses) -> Self {
        Self { addresses: addresses.clone() }
    }

    pub(crate) fn registry(&self) -> Outcome<Reached<RegistryClient>> {
        let client = |transport| RegistryClient::new(transport).within(DEADLINE);
        reach("the registry", "--registry", &self.addresses.registry, client)
    }

    pub(crate) fn serving(&self) -> Outcome<Reached<ServingClient>> {
        let client = |transport| ServingClient::new(transport).within(DEADLINE);
        reach("serving", "--serving", &self.addresses.serving, client)
    }

    pub(crate) fn push_ingest(&self) -> Outcome<Reached<PushClient>> {
        let client = |transport| PushClient::new(transport).within(DEADLINE);
        reach("push-ingest", "--push-ingest", &self.addresses.push_ingest, client)
    }

    pub(crate) fn materializer(&self) -> Outcome<Reached<MaterializerClient>> {
        let client = |transport| MaterializerClient::new(transport).within(DEADLINE);
        reach("the materializer", "--materializer", &self.addresses.materializer, client)
    }

    /// The newest revision of a project: what other services are asked to know before they answer.
    pub(crate) async fn newest_revision(&self, project: &Name) -> Outcome<Revision> {
        let registry = self.registry()?;
        let page = registry.explain(registry.client.revisions(project, 1, "").await)?;
        Ok(page.revisions.first().map_or(Revision(0), |info| info.revision))
    }
}

fn reach<C>(
    service: &'static str,
    flag: &'static str,
    address: &str,
    client: impl FnOnce(Transport) -> C,
) -> Outcome<Reached<C>> {
    let transport = Transport::connect(address).map_err(|error| Failure::usage(error.context(flag).message()))?;
    Ok(Reached { client: client(transport), service, flag, address: address.to_owned() })
}

impl<C> Reached<C> {
    /// An answer of the service. Where none came at all, says which service it was, where it was looked for, and how to
    /// start one.
    pub(crate) fn explain<T>(&self, answer: Result<T>) -> Outcome<T> {
        answer.map_err(|error| match &error {
            error if is_no_grpc(error) => self.no_grpc(),
            error if is_of_another_service(error) => self.another_service(),
            error if is_unreachable(error) => self.unreachable(error),
            _ => match stopping(&error) {
                Some(who) => self.stopping(who, &error),
                None => error.into(),
            },
        })
    }

    fn no_grpc(&self) -> Failure {
        let Self { service, flag, address, .. } = self;
        Failure::Error(Error::unavailable(format!(
            "what answers at {address} does not speak gRPC: {service} is at another port; {flag} wants that, not the admin \
             port or a web server"
        )))
    }

    fn another_service(&self) -> Failure {
        let Self { service, flag, address, .. } = self;
        Failure::Error(Error::unavailable(format!(
            "what answers at {address} is a service of Larder, but not {service}, or one of another release: {flag} says where \
             {service} is"
        )))
    }

    fn stopping(&self, who: &str, error: &Error) -> Failure {
        let Self { service, address, .. } = self;
        let who = if who == "the service" { format!("{service} at {address}") } else { who.to_owned() };
        let said = Error::unavailable(format!("{who} is stopping: repeat the command once it is back"));
        let violations = error.violations().iter().cloned();
        Failure::Error(
            violations.fold(said, |said, violation| said.with_violation(violation.field, violation.description)),
        )
    }

    fn unreachable(&self, error: &Error) -> Failure {
        let Self { service, flag, address, .. } = self;
        let variable = flag.trim_start_matches('-').replace('-', "_").to_uppercase();
        let message = format!(
            "{service} does not answer at {address}: {}\n  \
             `larder up` starts one on this machine; {flag} or LARDER__CLIENT__{variable} says where another one is",
            deepest(error)
        );
        Failure::Error(Error::unavailable(message))
    }
}

/// Whether the answer was one of HTTP alone, e.g. of an admin port.
fn is_no_grpc(error: &Error) -> bool {
    let text = deepest(error);
    ["grpc-status header missing", "frame with invalid size", "invalid compression flag"]
        .iter()
        .any(|sign| text.contains(sign) || error.message().contains(sign))
}

/// Whether the call is none that is answered there, nor like one.
fn is_of_another_service(error: &Error) -> bool {
    let unknown = error.message().strip_prefix("there is no rpc ").and_then(|rest| rest.split_once(" here"));
    let (ErrorCode::Unimplemented, Some((rpc, near))) = (error.code(), unknown) else { return false };
    rpc.rsplit_once('/').is_some_and(|(service, _)| !near.contains(service))
}

/// Who says that it is stopping. What else it says is for clients that hold on to a stream.
fn stopping(error: &Error) -> Option<&str> {
    let (before, _) = error.message().split_once(" is stopping").filter(|_| error.code() == ErrorCode::Unavailable)?;
    before.rsplit(": ").next()
}

/// Errors that the transport made have a cause, those that a service answered have none.
fn is_unreachable(error: &Error) -> bool {
    error.code() == ErrorCode::Unavailable && error.source().is_some()
}

/// What lies at the bottom of it, e.g. `Connection refused (os error 111)`.
fn deepest(error: &Error) -> String {
    let mut text = error.message().to_owned();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text = inner.to_string();
        cause = inner.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::Exit;

    #[tokio::test]
    async fn nobody_there_names_the_service_its_address_and_a_way_out() {
        let addresses = Addresses {
            registry: "127.0.0.1:1".to_owned(),
            serving: "127.0.0.1:1".to_owned(),
            push_ingest: "127.0.0.1:1".to_owned(),
            materializer: "nowhere".to_owned(),
        };
        let services = Services::at(&addresses);
        let failure = services.newest_revision(&Name::new("a").unwrap()).await.unwrap_err();
        assert_eq!(failure.exit(), Exit::Unavailable);
        let text = failure.to_string();
        assert!(text.starts_with("error: the registry does not answer at 127.0.0.1:1: "), "{text}");
        assert!(
            text.contains("efused") && text.contains("larder up") && text.contains("LARDER__CLIENT__REGISTRY"),
            "{text}"
        );
        let wrong = services.materializer().unwrap_err();
        assert!(wrong.to_string().contains("--materializer: `nowhere`"), "{wrong}");
        assert_eq!(wrong.exit(), Exit::Usage);
    }

    #[test]
    fn what_a_service_answered_is_left_as_it_is() {
        let registry = Reached { client: (), service: "serving", flag: "--serving", address: "a:1".to_owned() };
        let failure = registry.explain::<()>(Err(Error::unavailable("the online store is empty"))).unwrap_err();
        assert_eq!(failure.to_string(), "error: the online store is empty");
    }

    #[test]
    fn who_calls_a_service_that_stops_is_told_to_repeat_the_command() {
        let of = Reached { client: (), service: "the materializer", flag: "--materializer", address: "a:1".to_owned() };
        for (message, who) in [
            ("the service is stopping: open the stream again, at another replica", "the materializer at a:1"),
            ("the spine: the service is stopping: open the stream again", "the materializer at a:1"),
            ("the registry is stopping: open the stream anew", "the registry"),
        ] {
            let error = Error::unavailable(message).with_violation("targets.online", "not known");
            let failure = of.explain::<()>(Err(error)).unwrap_err();
            let said =
                format!("error: {who} is stopping: repeat the command once it is back\n  targets.online: not known");
            assert_eq!((failure.exit(), failure.to_string()), (Exit::Unavailable, said));
        }
    }

    #[test]
    fn another_service_is_told_from_one_that_lacks_a_call() {
        let registry = Reached { client: (), service: "the registry", flag: "--registry", address: "a:1".to_owned() };
        let unknown = |near: &str| {
            let message = format!("there is no rpc /larder.registry.v1.RegistryService/GetCatalog here{near}");
            registry.explain::<()>(Err(Error::unimplemented(message))).unwrap_err()
        };
        let failure = unknown("");
        assert_eq!(failure.exit(), Exit::Unavailable);
        assert!(failure.to_string().contains("a:1 is a service of Larder, but not the registry"), "{failure}");
        let failure = unknown("; near it are /larder.registry.v1.RegistryService/GetCatalogs");
        assert_eq!(failure.exit(), Exit::Failed);
    }

    #[test]
    fn an_answer_without_grpc_is_called_that() {
        let registry = Reached { client: (), service: "the registry", flag: "--registry", address: "a:1".to_owned() };
        let error = Error::unimplemented("grpc-status header missing, mapped from HTTP status code 404");
        let failure = registry.explain::<()>(Err(error)).unwrap_err();
        assert_eq!(failure.exit(), Exit::Unavailable);
        assert!(failure.to_string().contains("a:1 does not speak gRPC"), "{failure}");
    }
}
