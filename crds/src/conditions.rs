//! Conditions, as the API conventions of Kubernetes define them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Timestamp;

/// The status of a condition: True, False or Unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ConditionStatus {
    /// It is true.
    True,
    /// It is false.
    False,
    /// It is not known yet.
    Unknown,
}

/// One aspect of the state of an object, for `kubectl wait --for=condition=…` and for tools.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// What the condition is about, such as `Ready`.
    #[schemars(length(min = 1, max = 316))]
    pub r#type: String,
    /// True, False or Unknown.
    pub status: ConditionStatus,
    /// Why, as one word for programs.
    #[schemars(length(min = 1, max = 1024))]
    pub reason: String,
    /// Why, in words for people.
    #[schemars(length(max = 32768))]
    pub message: String,
    /// When the status last changed.
    pub last_transition_time: Timestamp,
    /// The generation of the object that the condition is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
}

/// A list of conditions in a fixed order, each type once.
pub trait Conditions {
    /// The condition of this type, if it was ever set.
    fn condition(&self, r#type: &str) -> Option<&Condition>;

    /// Sets a condition in place, or appends it. The transition time moves only with the status.
    fn set_condition(&mut self, condition: Condition);
}

impl Conditions for Vec<Condition> {
    fn condition(&self, r#type: &str) -> Option<&Condition> {
        self.iter().find(|known| known.r#type == r#type)
    }

    fn set_condition(&mut self, mut condition: Condition) {
        match self.iter_mut().find(|known| known.r#type == condition.r#type) {
            Some(known) => {
                if known.status == condition.status {
                    condition.last_transition_time = known.last_transition_time;
                }
                *known = condition;
            }
            None => self.push(condition),
        }
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;

    fn condition(status: ConditionStatus, seconds: i64) -> Condition {
        Condition {
            r#type: "Ready".into(),
            status,
            reason: "Valid".into(),
            message: String::new(),
            last_transition_time: DateTime::from_timestamp(seconds, 0).unwrap().into(),
            observed_generation: None,
        }
    }

    #[test]
    fn transition_time_moves_only_with_the_status() {
        let mut conditions = vec![condition(ConditionStatus::True, 1)];
        conditions.set_condition(condition(ConditionStatus::True, 2));
        assert_eq!(conditions, vec![condition(ConditionStatus::True, 1)]);
        conditions.set_condition(condition(ConditionStatus::False, 3));
        assert_eq!(conditions, vec![condition(ConditionStatus::False, 3)]);
    }
}
