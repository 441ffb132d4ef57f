//! Uploaded programs. Whoever keeps them may block, so everything is done on threads for that.

use crate::app::App;
use crate::artefacts::upload::{ReaderGone, UploadWriter, pipe};
use crate::artefacts::{ArtefactError, ArtefactErrorKind, Upload, name};
use crate::error::ApiError;
use crate::json::error::EmptyBody;
use crate::json::jars::{JarFiles, JarRequest, JarRun, JarUpload};
use crate::json::plan::PlanBody;
use crate::reply::{Json, Reply};
use crate::request::body::{refuse_longer, too_large};
use crate::request::{JsonBody, PathParameters, Query};
use axum::extract::multipart::{Field, MultipartError};
use axum::extract::{FromRequest, Multipart, Request, State};
use hyper::StatusCode;
use millstream_core::ids::JobId;
use millstream_rpc::shell::system::random_u128;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;

/// The name of the form's field.
const FIELD: &str = "jarfile";

/// What a form may have around its file.
pub(crate) const FORM_BYTES_MAX: u64 = 64 * 1024;

/// `GET /jars`
pub(crate) async fn list(State(app): State<Arc<App>>) -> Reply<JarFiles> {
    let address = format!("http://{}", app.bound);
    if app.artefacts.is_none() {
        return Ok(Json(JarFiles::of(address, &[])));
    }
    let found = finished(app.work()?.begin(|store| store.list())).await?;
    Ok(Json(JarFiles::of(address, &found)))
}

/// `DELETE /jars/:jarid`
pub(crate) async fn delete(State(app): State<Arc<App>>, path: PathParameters) -> Reply<EmptyBody> {
    let (work, id) = (app.work()?, path.artefact()?);
    finished(work.begin(move |store| store.delete(id))).await?;
    Ok(Json(EmptyBody {}))
}

/// `GET|POST /jars/:jarid/plan`
pub(crate) async fn plan(
    State(app): State<Arc<App>>,
    path: PathParameters,
    query: Query,
    JsonBody(request): JsonBody<JarRequest>,
) -> Reply<PlanBody> {
    let (work, id, launch) = (app.work()?, path.artefact()?, request.launch(&query)?);
    // A plan is of no job yet; the reader only needs some id.
    let job = launch.job.unwrap_or_else(|| JobId(random_u128()));
    let graph = finished(work.begin(move |store| store.plan(id, launch))).await?;
    Ok(Json(PlanBody::of(job, &graph)))
}

/// `POST /jars/:jarid/run`
pub(crate) async fn run(
    State(app): State<Arc<App>>,
    path: PathParameters,
    query: Query,
    JsonBody(request): JsonBody<JarRequest>,
) -> Reply<JarRun> {
    let (work, id, launch) = (app.work()?, path.artefact()?, request.launch(&query)?);
    let job = finished(work.begin(move |store| store.run(id, launch))).await?;
    Ok(Json(JarRun { jobid: job, application_id: job }))
}

/// `POST /jars/upload`
pub(crate) async fn upload(State(app): State<Arc<App>>, request: Request) -> Reply<JarUpload> {
    let work = app.work()?;
    refuse_longer(request.headers(), app.config.upload_bytes_max + FORM_BYTES_MAX)?;
    let form = Multipart::from_request(request, &app).await;
    let mut form = form.map_err(|rejection| {
        ApiError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, rejection.body_text())
    })?;
    let limits = Limits::of(&app);
    let field = file_of(limits.in_time(form.next_field()).await?)?;
    let display_name = name::display_name(field.file_name());
    let (writer, mut reader) = pipe();
    let storing = work.begin(move |store| {
        store.store(Upload { display_name: &display_name, content: &mut reader })
    });
    match transfer(field, &writer, &limits).await {
        Ok(()) if limits.in_time(form.next_field()).await?.is_some() => {
            return Err(ApiError::bad_request("Exactly 1 file must be sent, received more."));
        }
        Ok(()) => drop(writer.end().await),
        Err(Broken::Request(error)) => return Err(error),
        // The store knows why it stopped reading.
        Err(Broken::Reader) => (),
    }
    Ok(Json(JarUpload::of(&finished(storing).await?)))
}

/// The form's first field, if that is the file.
fn file_of(field: Option<Field<'_>>) -> Result<Field<'_>, ApiError> {
    match field {
        None => Err(ApiError::bad_request("Exactly 1 file must be sent, received 0.")),
        Some(field) if field.name() == Some(FIELD) && field.file_name().is_some() => Ok(field),
        Some(_) => Err(ApiError::bad_request(format!(
            "the form's only field must be a file with the name `{FIELD}`"
        ))),
    }
}

/// How much, and how slowly.
struct Limits {
    bytes_max: u64,
    pause_max: Duration,
}

impl Limits {
    fn of(app: &App) -> Self {
        Self { bytes_max: app.config.upload_bytes_max, pause_max: app.config.idle_timeout }
    }

    /// The next part of the form, unless the client pauses for too long.
    async fn in_time<T>(
        &self,
        next: impl Future<Output = Result<T, MultipartError>>,
    ) -> Result<T, ApiError> {
        match tokio::time::timeout(self.pause_max, next).await {
            Ok(Ok(part)) => Ok(part),
            Ok(Err(error)) if error.status() == StatusCode::PAYLOAD_TOO_LARGE => {
                Err(too_large(self.bytes_max))
            }
            Ok(Err(error)) => Err(ApiError::new(error.status(), error.body_text())),
            Err(_) => Err(ApiError::new(
                StatusCode::REQUEST_TIMEOUT,
                format!("the upload paused for more than {} ms", self.pause_max.as_millis()),
            )),
        }
    }
}

/// Why a transfer ended early.
enum Broken {
    Reader,
    Request(ApiError),
}

async fn transfer(
    mut field: Field<'_>,
    writer: &UploadWriter,
    limits: &Limits,
) -> Result<(), Broken> {
    let mut bytes = 0;
    while let Some(chunk) = limits.in_time(field.chunk()).await.map_err(Broken::Request)? {
        bytes += chunk.len() as u64;
        if bytes > limits.bytes_max {
            return Err(Broken::Request(too_large(limits.bytes_max)));
        }
        writer.write(chunk).await.map_err(|ReaderGone| Broken::Reader)?;
    }
    Ok(())
}

async fn finished<T>(work: JoinHandle<Result<T, ArtefactError>>) -> Result<T, ApiError> {
    match work.await {
        Ok(result) => result.map_err(ApiError::from),
        Err(_) => Err(ApiError::internal("the store of programs panicked; see the log")),
    }
}

impl From<ArtefactError> for ApiError {
    fn from(error: ArtefactError) -> Self {
        let status = match error.kind {
            ArtefactErrorKind::Unknown => StatusCode::NOT_FOUND,
            ArtefactErrorKind::Invalid => StatusCode::BAD_REQUEST,
            ArtefactErrorKind::Conflict => StatusCode::CONFLICT,
            ArtefactErrorKind::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            ArtefactErrorKind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            ArtefactErrorKind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self::new(status, error.message)
    }
}
