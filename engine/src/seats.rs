//! Who sits where: people are assigned to stages so that the most stages are complete.

/// Assigns people to stages, each to one at most: for each stage, who sits in it.
///
/// `required` says how many each stage needs, `fits[person][stage]` who may sit where. A policy has at
/// most eight stages, so every set of them can be tried, the larger and earlier first: for each, a
/// bipartite matching (augmenting paths, as in Ford–Fulkerson) says whether there are people enough.
/// Whoever is left fills stages that stay incomplete.
pub(crate) fn assign(required: &[u32], fits: &[Vec<bool>]) -> Vec<Vec<usize>> {
    let mut choices: Vec<u32> = (0..1u32 << required.len()).collect();
    choices.sort_by_key(|choice| (std::cmp::Reverse(choice.count_ones()), *choice));
    let mut seats = Seats::default();
    for choice in choices {
        seats = Seats::new(required, |stage| choice & (1 << stage) != 0);
        let placed = (0..fits.len()).filter(|person| seats.place(fits, *person)).count();
        if placed == seats.0.len() {
            break;
        }
    }
    // Everybody keeps a seat in a complete stage; the rest take seats in the others.
    seats.extend(required);
    for person in 0..fits.len() {
        if !seats.taken_by(person) {
            seats.place(fits, person);
        }
    }
    let mut assigned = vec![Vec::new(); required.len()];
    for (stage, person) in seats.0.iter().filter_map(|seat| Some((seat.stage, seat.person?))) {
        assigned[stage].push(person);
    }
    assigned
}

#[derive(Clone, Copy, Debug)]
struct Seat {
    stage: usize,
    person: Option<usize>,
}

/// The places that the stages of a set have, and who sits there.
#[derive(Debug, Default)]
struct Seats(Vec<Seat>);

impl Seats {
    fn new(required: &[u32], included: impl Fn(usize) -> bool) -> Self {
        let seats = required.iter().enumerate().filter(|(stage, _)| included(*stage)).flat_map(
            |(stage, required)| (0..*required).map(move |_| Seat { stage, person: None }),
        );
        Self(seats.collect())
    }

    /// Adds the seats of the stages that have none yet.
    fn extend(&mut self, required: &[u32]) {
        let missing = Self::new(required, |stage| !self.0.iter().any(|seat| seat.stage == stage));
        self.0.extend(missing.0);
    }

    fn taken_by(&self, person: usize) -> bool {
        self.0.iter().any(|seat| seat.person == Some(person))
    }

    /// Seats a person, moving others to other seats where that makes room.
    fn place(&mut self, fits: &[Vec<bool>], person: usize) -> bool {
        let mut visited = vec![false; self.0.len()];
        self.augment(fits, person, &mut visited)
    }

    fn augment(&mut self, fits: &[Vec<bool>], person: usize, visited: &mut [bool]) -> bool {
        for seat in 0..self.0.len() {
            if visited[seat] || !fits[person][self.0[seat].stage] {
                continue;
            }
            visited[seat] = true;
            let free = match self.0[seat].person {
                None => true,
                Some(other) => self.augment(fits, other, visited),
            };
            if free {
                self.0[seat].person = Some(person);
                return true;
            }
        }
        false
    }
}
