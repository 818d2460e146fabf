//! Knows the servers of a cluster, and which of them is chosen.
//! Never: what is sent to them.

use std::time::Duration;

use crate::cluster::balance::{Balance, Balancer};
use crate::cluster::connector::LinkId;
use crate::cluster::member::{Due, Member, Patience};
use crate::cluster::random::Random;
use crate::cluster::servers::{Server, WEIGHT_MAX};

#[derive(Debug)]
pub(super) struct Roster {
    pub(super) members: Vec<Member>,
    balance: Balance,
    balancer: Balancer,
    seed: u64,
}

impl Roster {
    pub(super) fn new(balance: Balance, servers: &[Server], seed: u64) -> Roster {
        Roster {
            members: servers.iter().cloned().map(Member::new).collect(),
            balance,
            balancer: Balancer::new(balance, servers, Random::new(seed)),
            seed,
        }
    }

    /// Chooses a server that has not been tried if there is one, and one that is out only if all are; none if all are
    /// inactive.
    pub(super) fn choose(&mut self, key: &str, tried: &[usize]) -> Option<usize> {
        let (members, balancer) = (&self.members, &mut self.balancer);
        let is_in = |at: usize| members[at].is_active && !members[at].is_out();
        (balancer.pick(key, |at| is_in(at) && !tried.contains(&at)))
            .or_else(|| balancer.pick(key, is_in))
            .or_else(|| balancer.pick(key, |at| members[at].is_active && !tried.contains(&at)))
            .or_else(|| balancer.pick(key, |at| members[at].is_active))
    }

    /// Sets a weight; false if it is none, or there is no such server. The balance begins anew.
    pub(super) fn set_weight(&mut self, server: usize, weight: u32) -> bool {
        let is_right = server < self.members.len() && (1..=WEIGHT_MAX).contains(&weight);
        if is_right {
            self.members[server].server.weight = weight;
            self.seed = self.seed.wrapping_add(1);
            let servers: Vec<Server> = self.members.iter().map(|member| member.server.clone()).collect();
            self.balancer = Balancer::new(self.balance, &servers, Random::new(self.seed));
        }
        is_right
    }

    pub(super) fn server_of(&self, link: LinkId) -> Option<usize> {
        self.members.iter().position(|member| member.link.id() == Some(link))
    }

    /// What is due by `now`, and of which server.
    pub(super) fn due(&self, patience: Patience, now: Duration) -> Option<(usize, Due)> {
        let of_member = |member: &Member| member.next_due(patience).filter(|(at, _)| *at <= now);
        self.members.iter().enumerate().find_map(|(at, member)| Some((at, of_member(member)?.1)))
    }

    /// When something is due next.
    pub(super) fn next_deadline(&self, patience: Patience) -> Option<Duration> {
        self.members.iter().filter_map(|member| member.next_due(patience)).map(|(at, _)| at).min()
    }
}
