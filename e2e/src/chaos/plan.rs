//! What happens, and when: drawn from a seed, and from nothing else.

use std::time::Duration;

use super::random::Random;
use super::step::{Act, CONTROLLERS, Manager, Network, Policy, Round, Trouble, What};

/// How many of the last requests people still do something about.
const RECENT: u32 = 12;
/// How long a right lasts that outlives the round, in seconds.
const LONG: u64 = 3600;

/// How much is drawn.
#[derive(Clone, Copy, Debug)]
pub(super) struct Measure {
    /// How long people do something.
    pub(super) length: Duration,
    /// Whether the API server is killed, too, which takes long.
    pub(super) kills_api_server: bool,
}

/// Draws one round after the other.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    random: Random,
    asked: Vec<Asked>,
    off: [bool; 2],
    is_forbidden: bool,
}

/// What people have done about a request so far, whether it got through or not.
#[derive(Clone, Copy, Debug)]
struct Asked {
    policy: Policy,
    bob: bool,
    ben: bool,
}

impl Asked {
    fn is_approved(self) -> bool {
        usize::from(self.bob) + usize::from(self.ben) >= self.policy.required()
    }
}

#[derive(Clone, Copy)]
enum Kind {
    Ask,
    Extend,
    Approve,
    Deny,
    End,
    DeleteRequest,
    DeleteGrant,
    DeleteBinding,
    DeleteMarker,
    Switch,
    Forbid,
}

impl Plan {
    pub(super) fn new(seed: u64) -> Self {
        Self { random: Random::new(seed), asked: Vec::new(), off: [false; 2], is_forbidden: false }
    }

    pub(super) fn round(&mut self, measure: Measure) -> Round {
        let length = millis(measure.length);
        let mut round = Round::default();
        let mut at = 0;
        while at < length {
            let act = self.act();
            round.steps.push((Duration::from_millis(at), What::Act(act)));
            // What an approval begins is met at any of its moments.
            at += if self.random.is(30) {
                self.random.between(0, 30)
            } else {
                self.random.between(20, 250)
            };
        }
        for trouble in self.troubles(measure) {
            let number = round.troubles.len();
            let (from, to, trouble) = trouble;
            round.troubles.push(trouble);
            round.steps.push((Duration::from_millis(from), What::Begin { trouble: number }));
            round.steps.push((Duration::from_millis(to), What::End { trouble: number }));
        }
        round.steps.sort_by_key(|(at, _)| *at);
        round
    }

    fn act(&mut self) -> Act {
        let kinds = [
            (26, Kind::Ask),
            (5, Kind::Extend),
            (36, Kind::Approve),
            (6, Kind::Deny),
            (7, Kind::End),
            (4, Kind::DeleteRequest),
            (4, Kind::DeleteGrant),
            (4, Kind::DeleteBinding),
            (3, Kind::DeleteMarker),
            (if self.off.contains(&true) { 20 } else { 2 }, Kind::Switch),
            (if self.is_forbidden { 20 } else { 1 }, Kind::Forbid),
        ];
        let kind = self.random.weighted(&kinds).unwrap_or(Kind::Ask);
        // Now and then what makes no sense.
        let is_sensible = self.random.is(90);
        let wants_approved = match kind {
            Kind::Approve => Some(false),
            Kind::Extend
            | Kind::End
            | Kind::DeleteGrant
            | Kind::DeleteBinding
            | Kind::DeleteMarker => Some(true),
            _ => None,
        };
        let Some(request) = self.recent(wants_approved.filter(|_| is_sensible)) else {
            return self.ask();
        };
        match kind {
            Kind::Ask => self.ask(),
            Kind::Extend => {
                let policy = self.policy_of(request);
                let (number, seconds) = (self.number(policy), self.seconds());
                Act::Extend { request: number, of: request, policy, seconds }
            }
            Kind::Approve => self.approve(request),
            Kind::Deny => Act::Deny { request },
            Kind::End => Act::End { request },
            Kind::DeleteRequest => Act::DeleteRequest { request },
            Kind::DeleteGrant => Act::DeleteGrant { request },
            Kind::DeleteBinding => Act::DeleteBinding { request },
            Kind::DeleteMarker => Act::DeleteMarker { request },
            Kind::Switch => self.switch(),
            Kind::Forbid => {
                self.is_forbidden = !self.is_forbidden;
                if self.is_forbidden { Act::Forbid } else { Act::Permit }
            }
        }
    }

    fn ask(&mut self) -> Act {
        let policy = if self.random.is(75) { Policy::One } else { Policy::Two };
        Act::Ask { request: self.number(policy), policy, seconds: self.seconds() }
    }

    fn approve(&mut self, request: u32) -> Act {
        let by = self.random.one_of(&[Manager::Bob, Manager::Ben]).unwrap_or(Manager::Bob);
        let Some(asked) = self.asked.get_mut(index(request)) else {
            return Act::Approve { request, by };
        };
        let by = match (asked.bob, asked.ben) {
            (true, false) => Manager::Ben,
            (false, true) => Manager::Bob,
            _ => by,
        };
        match by {
            Manager::Bob => asked.bob = true,
            Manager::Ben => asked.ben = true,
        }
        Act::Approve { request, by }
    }

    fn switch(&mut self) -> Act {
        for (policy, off) in Policy::ALL.into_iter().zip(&mut self.off) {
            if *off {
                *off = false;
                return Act::SwitchOn(policy);
            }
        }
        let policy = self.random.one_of(&Policy::ALL).unwrap_or(Policy::One);
        self.off[usize::from(policy == Policy::Two)] = true;
        Act::SwitchOff(policy)
    }

    /// The number of a new request.
    fn number(&mut self, policy: Policy) -> u32 {
        self.asked.push(Asked { policy, bob: false, ben: false });
        self.count() - 1
    }

    fn count(&self) -> u32 {
        u32::try_from(self.asked.len()).unwrap_or(u32::MAX)
    }

    fn policy_of(&self, request: u32) -> Policy {
        self.asked.get(index(request)).map_or(Policy::One, |asked| asked.policy)
    }

    /// One of the last requests, of those that are approved, or are not.
    fn recent(&mut self, is_approved: Option<bool>) -> Option<u32> {
        let first = self.count().saturating_sub(RECENT);
        let is_wanted = |number: &u32| {
            let asked = self.asked.get(index(*number));
            is_approved
                .is_none_or(|wanted| asked.is_some_and(|asked| asked.is_approved() == wanted))
        };
        let wanted: Vec<u32> = (first..self.count()).filter(is_wanted).collect();
        self.random.one_of(&wanted)
    }

    fn seconds(&mut self) -> u64 {
        let (short, middle) = (self.random.between(1, 4), self.random.between(3, 11));
        self.random.weighted(&[(3, short), (5, middle), (2, LONG)]).unwrap_or(middle)
    }

    /// What goes wrong in a round: when it begins and ends, in milliseconds, and what.
    fn troubles(&mut self, measure: Measure) -> Vec<(u64, u64, Trouble)> {
        let length = millis(measure.length);
        // When the last trouble of each controller, the webhook and the API server ends.
        let mut busy = [0; CONTROLLERS + 2];
        let mut troubles = Vec::new();
        for _ in 0..self.random.between(2, 7) {
            let from = self.random.between(0, length);
            let trouble = self.trouble(measure);
            let (whom, longest) = match &trouble {
                Trouble::Killed { controller } => (vec![*controller], 4000),
                Trouble::Stopped { controller } => (vec![*controller], 11_000),
                Trouble::Network { controllers, .. } => (controllers.clone(), 6000),
                Trouble::WebhookKilled | Trouble::WebhookSilent => (vec![CONTROLLERS], 3000),
                Trouble::ApiServerKilled => (vec![CONTROLLERS + 1], 1500),
            };
            let to = from + self.random.between(200, longest);
            if whom.iter().all(|whom| busy.get(*whom).is_some_and(|until| *until <= from)) {
                whom.iter().filter_map(|whom| busy.get_mut(*whom).map(|busy| *busy = to)).count();
                troubles.push((from, to, trouble));
            }
        }
        troubles
    }

    fn trouble(&mut self, measure: Measure) -> Trouble {
        let controller = self.random.one_of(&[0, 1, 2]).unwrap_or_default();
        let api_server = u64::from(measure.kills_api_server);
        match self.random.weighted(&[(3, 0), (3, 1), (8, 2), (1, 3), (1, 4), (api_server, 5)]) {
            Some(0) => Trouble::Killed { controller },
            Some(1) => Trouble::Stopped { controller },
            Some(3) => Trouble::WebhookKilled,
            Some(4) => Trouble::WebhookSilent,
            Some(5) => Trouble::ApiServerKilled,
            _ => {
                let all = self.random.is(50);
                let controllers = if all { vec![0, 1, 2] } else { vec![controller] };
                Trouble::Network { controllers, what: self.network() }
            }
        }
    }

    fn network(&mut self) -> Network {
        let slow = Network::Slow(Duration::from_millis(self.random.between(20, 2000)));
        let code = self.random.one_of(&[429, 500, 503, 403, 404]).unwrap_or(500);
        let percent = self.random.one_of(&[20, 50, 100]).unwrap_or(100);
        let all = [
            (2, slow),
            (2, Network::Silent),
            (2, Network::Cut),
            (3, Network::AnswersLost),
            (4, Network::Refused { code, percent }),
            (2, Network::Deaf),
            (1, Network::Echo),
            (1, Network::WatchesGone),
            (1, Network::WatchesExpire),
        ];
        self.random.weighted(&all).unwrap_or(Network::Cut)
    }
}

fn index(request: u32) -> usize {
    usize::try_from(request).unwrap_or(usize::MAX)
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MEASURE: Measure = Measure { length: Duration::from_secs(10), kills_api_server: true };

    fn rounds(seed: u64, count: usize) -> Vec<Round> {
        let mut plan = Plan::new(seed);
        (0..count).map(|_| plan.round(MEASURE)).collect()
    }

    #[test]
    fn one_seed_gives_one_run() {
        assert_eq!(rounds(7, 3), rounds(7, 3));
        assert_ne!(rounds(7, 3), rounds(8, 3));
    }

    #[test]
    fn everything_happens_and_ends() {
        let rounds = rounds(1, 100);
        let told: Vec<String> = rounds
            .iter()
            .flat_map(|round| round.troubles.iter().map(ToString::to_string))
            .chain(rounds.iter().flat_map(|round| {
                round.steps.iter().filter_map(|(_, what)| match what {
                    What::Act(act) => Some(act.to_string()),
                    What::Begin { .. } | What::End { .. } => None,
                })
            }))
            .collect();
        for words in [
            "ask for",
            "extend",
            "Bob approves",
            "Ben approves",
            "deny",
            "end fix",
            "delete request",
            "delete the grant",
            "delete the binding",
            "delete the marker",
            "switch policy one off",
            "switch policy two on",
            "policy that denies",
            "controller 2 is killed",
            "is stopped",
            "the webhook is killed",
            "does not answer",
            "the API server is killed",
            "Slow",
            "Silent",
            "Cut",
            "AnswersLost",
            "code: 429",
            "Deaf",
            "Echo",
            "WatchesGone",
        ] {
            assert!(told.iter().any(|told| told.contains(words)), "{words:?} never happens");
        }
        for Round { steps, troubles } in &rounds {
            for number in 0..troubles.len() {
                let at = |wanted: What| steps.iter().find(|(_, what)| *what == wanted).unwrap().0;
                assert!(at(What::Begin { trouble: number }) < at(What::End { trouble: number }));
            }
        }
    }
}
