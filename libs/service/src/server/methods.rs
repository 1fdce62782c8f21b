//! Every rpc that a server answers, with its shape and its counters: looked up once a call, by path.

use std::{collections::HashMap, sync::Arc};

use larder_types::{Error, Result, near_names};
use prost::Message;
use prost_types::FileDescriptorSet;

use super::DESCRIPTORS;
use crate::metrics::{MethodMetrics, Metrics};

/// The rpcs of one server, by path.
#[derive(Debug)]
pub(super) struct Methods(HashMap<String, Arc<Method>>);

/// One rpc.
#[derive(Debug)]
pub(super) struct Method {
    /// `/package.Service/Method`.
    pub(super) path: String,
    /// Whether the caller sends a stream.
    pub(super) streams_in: bool,
    /// Whether the answer is a stream.
    pub(super) streams_out: bool,
    /// Whether it is a probe or a tool's question (health, reflection), which no limit may keep from an answer.
    pub(super) is_probe: bool,
    /// Its counters.
    pub(super) metrics: MethodMetrics,
}

impl Method {
    /// Whether either side is a stream: such a call may live for days.
    pub(super) fn is_stream(&self) -> bool {
        self.streams_in || self.streams_out
    }
}

impl Methods {
    /// The methods of `services`, all of which must be in the contracts.
    pub(super) fn of(services: &[&'static str], metrics: &Metrics) -> Result<Self> {
        let mut methods = HashMap::new();
        let mut described = Vec::new();
        for set in DESCRIPTORS {
            let set = FileDescriptorSet::decode(set)
                .map_err(|error| Error::internal("the compiled contracts cannot be read").with_source(error))?;
            described.extend(add_methods(&set, services, metrics, &mut methods));
        }
        match services.iter().find(|name| !described.iter().any(|known| known == *name)) {
            Some(unknown) => Err(Error::internal(format!("the service {unknown} is not in the compiled contracts"))),
            None => Ok(Self(methods)),
        }
    }

    /// The rpc at `path`.
    pub(super) fn get(&self, path: &str) -> Option<&Arc<Method>> {
        self.0.get(path)
    }

    /// What to say to the caller of a path that is not here.
    pub(super) fn unknown(&self, path: &str) -> Error {
        let path: String = path.chars().take(200).collect();
        let near = near_names(&path, self.0.keys().map(String::as_str));
        let hint = match near.as_slice() {
            [] => String::new(),
            near => format!("; near it are {}", near.join(", ")),
        };
        Error::unimplemented(format!("there is no rpc {path} here{hint}"))
    }

    /// The calls in flight, by path, without probes.
    pub(super) fn pending(&self) -> Vec<(&str, i64)> {
        let methods = self.0.values().filter(|method| !method.is_probe);
        let mut pending: Vec<_> = methods.map(|method| (&*method.path, method.metrics.in_flight())).collect();
        pending.retain(|(_, count)| *count > 0);
        pending.sort_unstable();
        pending
    }
}

/// Adds the methods of those of `set`'s services that are wanted, and gives the names of these.
fn add_methods(
    set: &FileDescriptorSet,
    wanted: &[&'static str],
    metrics: &Metrics,
    methods: &mut HashMap<String, Arc<Method>>,
) -> Vec<String> {
    let mut found = Vec::new();
    for file in &set.file {
        for service in &file.service {
            let name = format!("{}.{}", file.package(), service.name());
            if !wanted.contains(&name.as_str()) {
                continue;
            }
            for rpc in &service.method {
                let method = Method {
                    path: format!("/{name}/{}", rpc.name()),
                    streams_in: rpc.client_streaming(),
                    streams_out: rpc.server_streaming(),
                    is_probe: name.starts_with("grpc."),
                    metrics: metrics.of_method(&name, rpc.name()),
                };
                methods.insert(method.path.clone(), Arc::new(method));
            }
            found.push(name);
        }
    }
    found
}
