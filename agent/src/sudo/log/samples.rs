//! What sudo writes, for tests.

use chrono::{DateTime, Utc};
use serde_json::Value;

fn moment(at: DateTime<Utc>) -> String {
    let (seconds, nanos) = (at.timestamp(), at.timestamp_subsec_nanos());
    format!(
        "{{\n            \"seconds\": {seconds},\n            \"nanoseconds\": {nanos},\n            \
         \"iso8601\": \"20261130214218Z\",\n            \"localtime\": \"Nov 30 21:42:18\"\n        }}"
    )
}

/// That `/usr/bin/id` was let run, as sudo 1.9.13 writes it.
pub(crate) fn accept(at: DateTime<Utc>, called_at: DateTime<Utc>, arguments: &[&str]) -> String {
    let arguments: Vec<String> =
        arguments.iter().map(|text| format!("            {}", Value::from(*text))).collect();
    format!(
        r#"
    "accept": {{
        "uuid": "fcc64548b2-99e8-4aa4-e544-edbbadd797",
        "server_time": {},
        "submit_time": {},
        "submituser": "alice",
        "command": "/usr/bin/id",
        "runuser": "root",
        "runcwd": "/home/alice",
        "ttyname": "/dev/pts/1",
        "submithost": "web-1",
        "submitcwd": "/srv",
        "runuid": 0,
        "columns": 80,
        "lines": 24,
        "runargv": [
{}
        ],
        "runenv": [
            "LAPSE_GRANT=forged",
            "SUDO_COMMAND=/usr/bin/id -u"
        ]
    }}"#,
        moment(at),
        moment(called_at),
        arguments.join(",\n")
    )
}

/// The end of a command, with 3 or by a signal, as sudo 1.9.16 writes it: some names come twice.
pub(crate) fn exit(called_at: DateTime<Utc>, at: DateTime<Utc>, signal: Option<&str>) -> String {
    let code = if signal.is_some() { 143 } else { 3 };
    let signal =
        signal.map(|name| format!("\n        \"signal\": \"{name}\",")).unwrap_or_default();
    let ran = (at - called_at).to_std().unwrap();
    let ran = format!(
        "\n        \"run_time\": {{\n            \"seconds\": {},\n            \"nanoseconds\": {}\n        }},{signal}\n        \
         \"exit_value\": {code}",
        ran.as_secs(),
        ran.subsec_nanos()
    );
    format!(
        r#"
    "exit": {{
        "uuid": "fcc64548b2-99e8-4aa4-e544-edbbadd797",
        "server_time": {},
        "exit_time": {},{ran},{ran}
    }}"#,
        moment(at),
        moment(at)
    )
}

/// The file that sudo makes of these records, one after the other.
pub(crate) fn file(records: &[String]) -> Vec<u8> {
    let mut file = String::new();
    for record in records {
        if file.is_empty() {
            file.push('{');
        } else {
            file.truncate(file.len() - 3);
            file.push(',');
        }
        file.push_str(record);
        file.push_str("\n}\n");
    }
    file.into_bytes()
}
