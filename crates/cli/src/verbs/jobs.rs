//! `list`, `info`, `cancel`, `logs`: questions about jobs, over REST.

use super::run::{absolute, check_program};
use crate::arguments::{InfoArguments, JobArguments, ListArguments, Planning};
use crate::client::RestClient;
use millstream::api::error::{Error, ErrorCode, Result};
use millstream::core::ids::JobId;
use millstream::core::job_graph::JobGraph;
use millstream::launch;
use serde_json::Value;
use std::path::Path;
use std::process::{Command, ExitCode};

pub(super) fn list(arguments: &ListArguments) -> Result<ExitCode> {
    let overview = RestClient::of(&arguments.target)?.get("/jobs/overview")?;
    let mut jobs: Vec<&Value> = overview["jobs"].as_array().into_iter().flatten().collect();
    jobs.sort_by_key(|job| job["start-time"].as_i64());
    let state = |job: &Value| job["state"].as_str().unwrap_or_default().to_owned();
    let is_scheduled = |job: &Value| matches!(state(job).as_str(), "CREATED" | "INITIALIZING");
    let is_ended = |job: &Value| matches!(state(job).as_str(), "FINISHED" | "CANCELED" | "FAILED");
    let running: Vec<_> =
        jobs.iter().copied().filter(|job| !is_ended(job) && !is_scheduled(job)).collect();
    let scheduled: Vec<_> = jobs.iter().copied().filter(|job| is_scheduled(job)).collect();
    let ended: Vec<_> = jobs.iter().copied().filter(|job| is_ended(job)).collect();
    let everything = arguments.all || !(arguments.running || arguments.scheduled);
    if everything || arguments.running {
        print_jobs("Running/Restarting Jobs", "No running jobs.", &running);
    }
    if everything || arguments.scheduled {
        print_jobs("Scheduled Jobs", "No scheduled jobs.", &scheduled);
    }
    if arguments.all {
        print_jobs("Terminated Jobs", "No terminated jobs.", &ended);
    }
    Ok(ExitCode::SUCCESS)
}

fn print_jobs(title: &str, nothing: &str, jobs: &[&Value]) {
    if jobs.is_empty() {
        return println!("{nothing}");
    }
    println!("{title:-^62}");
    for job in jobs {
        let text = |key: &str| job[key].as_str().unwrap_or("?");
        let started = job["start-time"].as_i64().unwrap_or(0);
        let started = millstream::connectors::nexmark::timestamp::text(started);
        println!("{started} : {} : {} ({})", text("jid"), text("name"), text("state"));
    }
    println!("{:-^62}", "");
}

pub(super) fn info(arguments: &InfoArguments) -> Result<ExitCode> {
    match arguments.job_or_program.parse::<JobId>() {
        Ok(job) => job_info(&RestClient::of(&arguments.target)?, job),
        Err(_) => program_info(arguments),
    }
}

fn job_info(client: &RestClient, job: JobId) -> Result<ExitCode> {
    let details = client.get(&format!("/jobs/{job}"))?;
    println!("{} {} {}", details["name"].as_str().unwrap_or("?"), job, details["state"]);
    for vertex in details["vertices"].as_array().into_iter().flatten() {
        println!(
            "  {:<12} x{:<4} {}",
            vertex["status"].as_str().unwrap_or("?"),
            vertex["parallelism"],
            vertex["name"].as_str().unwrap_or("?")
        );
    }
    Ok(ExitCode::SUCCESS)
}

/// Prints the program's graph as JSON.
fn program_info(arguments: &InfoArguments) -> Result<ExitCode> {
    let path = Path::new(&arguments.job_or_program);
    let (parallelism, definitions) = (arguments.parallelism, arguments.target.definitions.clone());
    println!("{}", plan(path, &arguments.arguments, &Planning { parallelism, definitions })?);
    Ok(ExitCode::SUCCESS)
}

/// The program's graph.
pub(super) fn plan_of(path: &Path, words: &[String], planning: &Planning) -> Result<JobGraph> {
    let text = plan(path, words, planning)?;
    serde_json::from_str(&text).map_err(|error| {
        Error::new(ErrorCode::Process, "the program's plan cannot be read")
            .at(path.display().to_string())
            .why(error.to_string())
            .next("build it with this version of Millstream")
    })
}

/// Plans the program in a process of its own: its graph as JSON.
fn plan(path: &Path, words: &[String], planning: &Planning) -> Result<String> {
    check_program(path)?;
    let file = std::env::temp_dir().join(format!("millstream-plan-{}.json", std::process::id()));
    let status = Command::new(absolute(path)?)
        .args(words)
        .env(launch::MODE, "plan")
        .env(launch::PLAN_FILE, &file)
        .env(launch::DEFINITIONS, planning.definitions.join("\n"))
        .env(launch::PARALLELISM, planning.parallelism.map(|p| p.to_string()).unwrap_or_default())
        .status();
    let plan = std::fs::read_to_string(&file);
    let _ = std::fs::remove_file(&file);
    match (status, plan) {
        (Ok(status), Ok(plan)) if status.success() => Ok(plan),
        _ => Err(Error::new(ErrorCode::Process, "the program did not come to its `execute`")
            .at(path.display().to_string())),
    }
}

pub(super) fn job_id(text: &str) -> Result<JobId> {
    text.parse().map_err(|error: millstream::core::ids::ParseIdError| {
        Error::new(ErrorCode::Argument, error.to_string())
            .next("`millstream list -a` shows the ids of jobs")
    })
}

pub(super) fn cancel(arguments: &JobArguments) -> Result<ExitCode> {
    let job = job_id(&arguments.job)?;
    RestClient::of(&arguments.target)?.patch(&format!("/jobs/{job}?mode=cancel"))?;
    println!("Cancelled job {job}.");
    Ok(ExitCode::SUCCESS)
}

pub(super) fn logs(arguments: &JobArguments) -> Result<ExitCode> {
    let job = job_id(&arguments.job)?;
    let logs = RestClient::of(&arguments.target)?.get(&format!("/jobs/{job}/logs"))?;
    for log in logs["logs"].as_array().into_iter().flatten() {
        println!("--- {}", log["taskmanager"].as_str().unwrap_or("?"));
        println!("{}", log["log"].as_str().unwrap_or_default());
    }
    Ok(ExitCode::SUCCESS)
}
