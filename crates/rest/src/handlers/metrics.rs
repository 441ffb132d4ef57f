//! What the engine counts and what functions show, by vertex and subtask.

use super::vertex::{no_subtask, not_found};
use crate::app::App;
use crate::error::ApiError;
use crate::json::metrics::{self, AggregatedMetric, Aggregation, Metric, Shown};
use crate::json::vertex_view::VertexView;
use crate::reply::{Json, Reply};
use crate::request::{PathParameters, Query};
use axum::extract::State;
use std::ops::RangeInclusive;
use std::sync::Arc;

/// `GET /jobs/:jobid/vertices/:vertexid/metrics?get=0.numRecordsIn,…`
pub(crate) async fn of_vertex(
    State(app): State<Arc<App>>,
    path: PathParameters,
    query: Query,
) -> Reply<Vec<Metric>> {
    let (job, vertex) = (path.job()?, path.vertex()?);
    let details = app.gateway.job(job).await?;
    let view = VertexView::find(&details, vertex).ok_or_else(|| not_found(vertex))?;
    Ok(Json(Metric::chosen(&metrics::of_vertex(&view), query.text("get"))))
}

/// `GET /jobs/:jobid/vertices/:vertexid/subtasks/:subtaskindex/metrics?get=numRecordsIn,…`
pub(crate) async fn of_subtask(
    State(app): State<Arc<App>>,
    path: PathParameters,
    query: Query,
) -> Reply<Vec<Metric>> {
    let (job, vertex, subtask) = (path.job()?, path.vertex()?, path.subtask()?);
    let details = app.gateway.job(job).await?;
    let view = VertexView::find(&details, vertex).ok_or_else(|| not_found(vertex))?;
    let attempt = view.attempts.get(subtask as usize).ok_or_else(|| no_subtask(vertex))?;
    Ok(Json(Metric::chosen(&metrics::of_task(&attempt.metrics), query.text("get"))))
}

/// `GET /jobs/:jobid/vertices/:vertexid/subtasks/metrics?get=numRecordsIn&agg=sum,max&subtasks=0,2-3`
pub(crate) async fn of_subtasks(
    State(app): State<Arc<App>>,
    path: PathParameters,
    query: Query,
) -> Reply<Vec<AggregatedMetric>> {
    let (job, vertex) = (path.job()?, path.vertex()?);
    let wrong = |name: &str| ApiError::bad_query(name, query.text(name).unwrap_or_default());
    let aggregations = Aggregation::parse(query.text("agg")).ok_or_else(|| wrong("agg"))?;
    let ranges = query.text("subtasks").map(|text| ranges(text).ok_or_else(|| wrong("subtasks")));
    let ranges = ranges.transpose()?;
    let details = app.gateway.job(job).await?;
    let view = VertexView::find(&details, vertex).ok_or_else(|| not_found(vertex))?;
    let meant = |subtask: &usize| {
        ranges.as_ref().is_none_or(|ranges| ranges.iter().any(|range| range.contains(subtask)))
    };
    let meant = view.attempts.iter().enumerate().filter(|(subtask, _)| meant(subtask));
    let tasks: Vec<Shown> = meant.map(|(_, of)| metrics::of_task(&of.metrics)).collect();
    Ok(Json(AggregatedMetric::chosen(&tasks, query.text("get"), &aggregations)))
}

/// `0,2-3`; nothing: that is none.
fn ranges(text: &str) -> Option<Vec<RangeInclusive<usize>>> {
    let range = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let range = first.parse().ok()?..=last.parse().ok()?;
        (!range.is_empty()).then_some(range)
    };
    text.split(',').map(range).collect()
}
