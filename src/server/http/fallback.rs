//! The user's own service, for requests that are nobody else's.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use http::uri::Scheme;
use http::{Request, Response};
use http_body::Body as _;
use hyper::body::Incoming;
use tower_service::Service;

use crate::server::local::Local;
use crate::server::task;
use crate::shard::http::{Body, BoxError, Cut, Peer};

/// Makes the service's answer to one request.
type Answer = Pin<Box<dyn Future<Output = Result<Response<Body>, BoxError>>>>;

/// The service, as each request sees it: a clone of its own.
pub(crate) struct Fallback(Box<dyn Fn(Request<Incoming>) -> Answer + Send + Sync>);

impl Fallback {
    pub(crate) fn new<S, B>(service: S) -> Self
    where
        S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + Sync + 'static,
        S::Error: Into<BoxError>,
        S::Future: 'static,
        B: http_body::Body<Data = Bytes> + 'static,
        B::Error: Into<BoxError>,
    {
        let service = Arc::new(service);
        Fallback(Box::new(move |request| {
            let service = service.clone();
            Box::pin(async move {
                let mut service = S::clone(&service);
                std::future::poll_fn(|cx| service.poll_ready(cx))
                    .await
                    .map_err(Into::into)?;
                let response = service.call(request).await.map_err(Into::into)?;
                Ok(response.map(|body| Body::Stream(Box::pin(Mapped(Box::pin(body))))))
            })
        }))
    }

    /// Asks the service. From the request to the last byte of the answer the core counts it as a task, since what it waits for may be brought by
    /// the runtime.
    pub(crate) async fn serve(
        &self,
        local: &Rc<Local>,
        mut request: Request<Incoming>,
        from: &Peer,
    ) -> Result<Response<Body>, Cut> {
        let extensions = request.extensions_mut();
        extensions.insert(local.server());
        if let Some(address) = from.via.peer {
            extensions.insert(address);
        }
        extensions.insert(if from.via.is_secure {
            Scheme::HTTPS
        } else {
            Scheme::HTTP
        });
        let hall = local.hall_of().clone();
        let alive = task::Alive::new(hall);
        let answer = task::caught((self.0)(request)).await;
        match answer {
            Some(Ok(response)) => Ok(response.map(|body| match body.is_end_stream() {
                true => body,
                false => Body::Stream(Box::pin(Counted {
                    body,
                    _alive: alive,
                })),
            })),
            Some(Err(error)) => {
                log::error!("the fallback service failed: {error}");
                Err(Cut)
            }
            None => Err(Cut),
        }
    }
}

/// A body whose errors are boxed.
struct Mapped<B>(Pin<Box<B>>);

impl<B> http_body::Body for Mapped<B>
where
    B: http_body::Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, BoxError>>> {
        self.0
            .as_mut()
            .poll_frame(cx)
            .map(|frame| frame.map(|frame| frame.map_err(Into::into)))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.0.size_hint()
    }
}

/// A body that counts as a task until it is dropped.
struct Counted {
    body: Body,
    _alive: task::Alive,
}

impl http_body::Body for Counted {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, BoxError>>> {
        // As for a handler: a panic ends the answer, and with it the connection.
        catch_unwind(AssertUnwindSafe(|| Pin::new(&mut self.body).poll_frame(cx))).unwrap_or_else(
            |panic| {
                task::log_panic(&*panic);
                std::task::Poll::Ready(Some(Err(Box::new(Cut))))
            },
        )
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.body.size_hint()
    }
}
