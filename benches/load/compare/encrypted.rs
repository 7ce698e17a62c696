//! Over TLS 1.3, for those whose TLS is their own: kept alive, and with a handshake for each token.

use anyhow::{Context, Result};

use super::alternate;
use super::contestants::{Contestant, GO, HYPER, SIGNET};
use super::resting::Resting;
use super::table::{rounded, table};
use crate::door::Door;
use crate::measure::{mebibytes, median_of, ratio, throughput, throughput_afresh};
use crate::tls::{self, Certificate};

/// What is done over TLS: the columns of CPU time.
#[derive(Clone, Copy)]
enum Form {
    KeptAlive,
    WholeHandshake,
    Resumed,
}

const FORMS: [Form; 3] = [Form::KeptAlive, Form::WholeHandshake, Form::Resumed];

/// Measures and prints; Go only if it is among the contestants.
pub(super) fn compare(contestants: &[Contestant], rounds: usize) -> Result<()> {
    let certificate = Certificate::new()?;
    let among = |who: &Contestant| contestants.contains(who);
    let resting = [HYPER, SIGNET, GO]
        .into_iter()
        .filter(among)
        .map(|contestant| Resting::new(contestant, Some(&certificate)))
        .collect::<Result<Vec<_>>>()?;
    let subjects: Vec<(Form, usize)> = FORMS
        .into_iter()
        .flat_map(|form| (0..resting.len()).map(move |at| (form, at)))
        .collect();
    let measured = alternate("over TLS", &subjects, rounds, |&(form, at)| {
        cost(&resting[at], form)
    })?;

    let of = |form: Form, at: usize| &measured[form as usize * resting.len() + at];
    let rows: Vec<Vec<String>> = resting
        .iter()
        .enumerate()
        .map(|(at, one)| {
            let mut row = vec![one.contestant.title.to_owned()];
            row.extend(FORMS.map(|form| rounded(median_of(of(form, at), |cost| *cost))));
            row.push(rounded(mebibytes(one.idle_bytes)));
            row.push(rounded(one.bytes_per_connection / 1024.0));
            row.push(rounded(one.start_milliseconds));
            row
        })
        .collect();
    let heads = [
        "TLS 1.3, one core",
        "CPU µs per token, kept alive",
        "with a whole handshake",
        "with a resumed one",
        "MiB idle",
        "KiB per idle connection",
        "ms to first token",
    ];
    println!("{}", table(&heads, &rows));
    let to = |form: Form, other: usize| rounded(ratio(of(form, 1), of(form, other), |cost| *cost));
    print!(
        "signet to bare hyper: kept alive {}",
        to(Form::KeptAlive, 0)
    );
    if resting.len() > 2 {
        let (whole, resumed) = (to(Form::WholeHandshake, 2), to(Form::Resumed, 2));
        print!("; to Go: whole handshake {whole}, resumed {resumed}");
    }
    println!("\n");
    Ok(())
}

fn cost(one: &Resting, form: Form) -> Result<f64> {
    let done = match form {
        Form::KeptAlive => throughput(&one.server, one.server.requests()),
        Form::WholeHandshake | Form::Resumed => {
            let resumption = matches!(form, Form::Resumed);
            let door = Door {
                address: one.server.door().address,
                tls: Some(tls::client(resumption)?),
            };
            throughput_afresh(&one.server, &door, resumption)
        }
    }
    .with_context(|| format!("asking {}", one.contestant.title))?;
    Ok(done.microseconds)
}
