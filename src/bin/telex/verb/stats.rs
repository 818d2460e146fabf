//! Knows how the daemon's counters are written: as JSON, as a list, and for Prometheus.
//! Never: what they mean.

use std::os::fd::AsFd;
use std::time::Duration;

use clap::Args;
use nix::poll::PollFlags;
use serde_json::{Map, Value, json};

use crate::answer::{Members, ask};
use crate::context::{CONNECT_TIMEOUT, Context, Form};
use crate::exit::Failure;
use crate::given;
use crate::output::{Results, safe};
use crate::stop::Stop;
use crate::stream::deadline_after;
use crate::wait::wait;

pub(super) const EXAMPLES: &str = r#"Examples:
  telex stats
  telex stats --watch 5s --json
  telex stats --prometheus > /var/lib/node_exporter/telexd.prom.new"#;

/// Tell the daemon's counters
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Stats {
    /// In the text format of Prometheus, as for node_exporter's textfile collector
    #[arg(long)]
    prometheus: bool,
    /// Again and again, with this time between
    #[arg(long, value_name = "TIME", num_args = 0..=1, default_missing_value = "2s", value_parser = given::duration)]
    watch: Option<Duration>,
}

impl Stats {
    pub(super) fn run(self, context: &Context) -> Result<(), Failure> {
        let form = context.form();
        let mut results = Results::new();
        let stop = self.watch.map(|_| Stop::watch()).transpose()?;
        context.talk(CONNECT_TIMEOUT, |client| {
            loop {
                let reply = ask(client, "stats", &json!({}))?;
                let body = reply.body_value();
                match form {
                    _ if self.prometheus => results.line(prometheus(&body).trim_end())?,
                    Form::Json => {
                        let members = Members::of_reply(&reply);
                        results.line(&members.map_or_else(String::new, |members| members.to_line()))?;
                    }
                    Form::Table => {
                        for (name, value) in flat(&body) {
                            results.line(&safe(&format!("{name:>24}: {value}")))?;
                        }
                    }
                }
                results.flush()?;
                let Some((between, stop)) = self.watch.zip(stop.as_ref()) else { return Ok(()) };
                if wait(&[(stop.as_fd(), PollFlags::POLLIN)], deadline_after(between))?.is_some() {
                    return Ok(());
                }
                if form == Form::Table {
                    results.line("")?;
                }
            }
        })
    }
}

/// The counters by name; those that stand in others with a dot between.
fn flat(body: &Value) -> Vec<(String, String)> {
    let mut all = Vec::new();
    for (name, value) in body.as_object().into_iter().flatten() {
        match value {
            Value::Number(number) => all.push((name.clone(), number.to_string())),
            Value::Object(members) => {
                let inside = members.iter().map(|(inner, value)| (format!("{name}.{inner}"), value.to_string()));
                all.extend(inside);
            }
            _ => {}
        }
    }
    all
}

/// Counters that can also go down.
const GAUGES: &[&str] = &[
    "uptime", "nodes", "subscriptions", "open_requests", "paused", "queue_bytes", "queue_bytes_max", "oldest_ms",
    "memory_bytes", "longest_turn_us",
];

/// The counters in the text format of Prometheus
/// (<https://prometheus.io/docs/instrumenting/exposition_formats/>).
fn prometheus(body: &Value) -> String {
    let mut text = String::new();
    let mut metric = |name: &str, kind: &str, values: &[(String, &Value)]| {
        if !values.is_empty() {
            text += &format!("# TYPE telexd_{name} {kind}\n");
        }
        for (labels, value) in values {
            text += &format!("telexd_{name}{labels} {value}\n");
        }
    };
    for (name, value) in body.as_object().into_iter().flatten() {
        match (name.as_str(), value) {
            ("errors", Value::Object(codes)) => {
                metric("errors_total", "counter", &labelled(codes, "code"));
            }
            ("connections", Value::Object(counts)) => {
                let gauge = counts.get("now").map(|now| (String::new(), now));
                metric("connections", "gauge", gauge.as_slice());
                for key in ["total", "refused"] {
                    let counter = counts.get(key).map(|count| (String::new(), count));
                    let name = if key == "total" { "connections_total" } else { "connections_refused_total" };
                    metric(name, "counter", counter.as_slice());
                }
            }
            ("spool", Value::Object(counts)) => {
                for (key, value) in counts {
                    metric(&format!("spool_{key}"), "gauge", &[(String::new(), value)]);
                }
            }
            ("plugins", Value::Array(plugins)) => {
                for key in ["calls", "pass", "drop", "reject", "replace", "nanoseconds", "strikes"] {
                    let of = |plugin: &'_ Value| format!("{{plugin={}}}", quoted(plugin["name"].as_str()));
                    let values: Vec<_> = plugins.iter().map(|plugin| (of(plugin), &plugin[key])).collect();
                    metric(&format!("plugin_{key}_total"), "counter", &values);
                }
            }
            (name, Value::Number(_)) if GAUGES.contains(&name) => {
                metric(name, "gauge", &[(String::new(), value)]);
            }
            (name, Value::Number(_)) => metric(&format!("{name}_total"), "counter", &[(String::new(), value)]),
            _ => {}
        }
    }
    text
}

fn labelled<'a>(values: &'a Map<String, Value>, label: &str) -> Vec<(String, &'a Value)> {
    values.iter().map(|(name, value)| (format!("{{{label}={}}}", quoted(Some(name))), value)).collect()
}

/// The value of a label, with its quotes.
fn quoted(text: Option<&str>) -> String {
    let text = text.unwrap_or_default();
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prometheus_reads_it() {
        let body = json!({
            "connections": {"now": 2, "total": 7, "refused": 0},
            "errors": {"timeout": 3},
            "lines_in": 12,
            "nodes": 1,
            "plugins": [{"name": "a\"b", "calls": 4, "pass": 4, "drop": 0, "reject": 0, "replace": 0,
                         "nanoseconds": 9, "strikes": 0}],
            "spool": {"jobs": 0, "bytes": 0},
        });
        let text = prometheus(&body);
        for line in [
            "# TYPE telexd_connections gauge\ntelexd_connections 2\n",
            "# TYPE telexd_connections_total counter\ntelexd_connections_total 7\n",
            "# TYPE telexd_errors_total counter\ntelexd_errors_total{code=\"timeout\"} 3\n",
            "# TYPE telexd_lines_in_total counter\ntelexd_lines_in_total 12\n",
            "# TYPE telexd_nodes gauge\ntelexd_nodes 1\n",
            "telexd_plugin_calls_total{plugin=\"a\\\"b\"} 4\n",
            "telexd_spool_jobs 0\n",
        ] {
            assert!(text.contains(line), "{line} in {text}");
        }
        let names = text.lines().filter(|line| line.starts_with("# TYPE"));
        let names: Vec<_> = names.collect();
        assert_eq!(names.len(), names.iter().collect::<std::collections::BTreeSet<_>>().len());
    }
}
