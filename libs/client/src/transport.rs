//! What calls travel by: a network channel or a server of the same process, behind one type.

use std::{
    fmt,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use futures::future::BoxFuture;
use larder_types::{Error, Result};
use tonic::{body::Body, transport::Endpoint};
use tower::{BoxError, Service, ServiceExt as _, util::BoxCloneSyncService};

use crate::trace::Propagated;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(5);
const STREAM_WINDOW: u32 = 2 << 20;
const CONNECTION_WINDOW: u32 = 8 << 20;

type Request = http::Request<Body>;
type Response = http::Response<Body>;

/// A way to a service. Cheap to clone; clones share one connection. Generated clients are `XClient<Transport>`.
#[derive(Clone)]
pub struct Transport {
    service: BoxCloneSyncService<Request, Response, BoxError>,
}

impl Transport {
    /// Over the network, to `http://host:port` or `host:port`.
    ///
    /// It connects with the first call and again after a loss; must be called within a tokio runtime. INVALID_ARGUMENT
    /// for what is not an address.
    pub fn connect(address: &str) -> Result<Self> {
        let url = if address.contains("://") { address.to_owned() } else { format!("http://{address}") };
        let wrong = |why: &dyn fmt::Display| {
            Error::invalid_argument(format!("`{address}` is not the address of a service ({why}): write host:port"))
        };
        let endpoint = Endpoint::from_shared(url).map_err(|error| wrong(&error).with_source(error))?;
        if endpoint.uri().host().is_none() || endpoint.uri().port().is_none() {
            return Err(wrong(&"host or port is missing"));
        }
        if endpoint.uri().scheme_str() != Some("http") {
            return Err(wrong(&"only http:// is spoken"));
        }
        let channel = endpoint
            .connect_timeout(CONNECT_TIMEOUT)
            .tcp_nodelay(true)
            .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
            .keep_alive_timeout(KEEPALIVE_TIMEOUT)
            .keep_alive_while_idle(true)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .connect_lazy();
        Ok(Self::of(channel))
    }

    /// To a server of this process: a generated one, or one with layers around it.
    ///
    /// Its calls run in the caller's task. Deadlines, sizes and traces are what its layers make of them.
    pub fn in_process<S, B>(service: S) -> Self
    where
        S: Service<Request, Response = http::Response<B>> + Clone + Send + Sync + 'static,
        S::Error: Into<BoxError>,
        S::Future: Send + 'static,
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        Self::of(service)
    }

    fn of<S, B>(service: S) -> Self
    where
        S: Service<Request, Response = http::Response<B>> + Clone + Send + Sync + 'static,
        S::Error: Into<BoxError>,
        S::Future: Send + 'static,
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let plain = service.map_response(|response| response.map(Body::new)).map_err(Into::into);
        Self { service: BoxCloneSyncService::new(Propagated::new(plain)) }
    }
}

impl Service<Request> for Transport {
    type Response = Response;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Response, BoxError>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.service.poll_ready(context)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        self.service.call(request)
    }
}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Transport")
    }
}

#[cfg(test)]
mod tests {
    use larder_types::ErrorCode;

    use super::*;

    #[tokio::test]
    async fn addresses_are_host_and_port() {
        for good in ["localhost:6570", "http://127.0.0.1:6570", "http://[::1]:6570"] {
            assert!(Transport::connect(good).is_ok(), "{good}");
        }
        for bad in ["", "localhost", "ftp://localhost:1", "https://localhost:1", "a b:1"] {
            let error = Transport::connect(bad).unwrap_err();
            assert_eq!(error.code(), ErrorCode::InvalidArgument, "{bad}");
            assert!(error.message().contains("write host:port"), "{error}");
        }
    }
}
