//! The same parts for other batch systems: an Indexed Job of Kubernetes, an array of AWS Batch. `auto` in the command stands for the
//! number that these give each of their processes.

use std::fmt::Write as _;

use serde_json::{Value, json};
use setaccio_base::shell;

use super::{FINISH, JOIN, SLICES};

/// What is submitted.
pub struct Parts<'a> {
    /// What the recipe is called.
    pub name: &'a str,
    /// The words of the command whose parts they are.
    pub command: &'a [String],
    /// Into how many slices it is cut.
    pub of: usize,
    /// By how many processes they are joined.
    pub shares: u16,
    /// CPUs of a process that does a slice, and of the one that joins.
    pub cpus: [u16; 2],
    /// Memory of a process, in MiB.
    pub memory: u64,
}

/// A file of a submission: its name and its text.
pub type File = (&'static str, String);

impl Parts<'_> {
    fn words(&self, cpus: u16, part: &[&str]) -> Vec<String> {
        let jobs = ["--jobs".to_owned(), cpus.to_string()];
        let part = part.iter().map(|word| (*word).to_owned());
        self.command.iter().cloned().chain(jobs).chain(part).collect()
    }

    fn slices(&self, number: &str) -> Vec<String> {
        self.words(self.cpus[0], &["--task", number])
    }

    fn join(&self, number: &str) -> Vec<String> {
        self.words(self.cpus[1], &[&format!("--finish={number}")])
    }

    fn finish(&self) -> Vec<String> {
        self.words(self.cpus[1], &["--finish"])
    }

    /// Names of Kubernetes and AWS Batch: small letters, digits and `-`.
    fn job(&self, step: &str) -> String {
        let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
        let name: String = self.name.chars().map(plain).take(40).collect();
        format!("setaccio-{}-{step}", name.trim_matches('-'))
    }

    /// Manifests of Kubernetes: the slices, what joins them, and the commands that do one after the other. The volume is a claim and
    /// where it is mounted.
    pub fn kubernetes(&self, image: &str, (claim, mounted): (&str, &str)) -> Vec<File> {
        let job = |step: &str, cpus: u16, about: &str, indexed: &str, words: &[String]| {
            let text = |text: &str| json!(text).to_string();
            let command =
                words.iter().map(|word| format!("            - {}", text(word))).collect::<Vec<_>>().join("\n");
            let (name, memory) = (self.job(step), self.memory);
            let (image, claim, mounted) = (text(image), text(claim), text(mounted));
            format!(
                "# {about}\napiVersion: batch/v1\nkind: Job\nmetadata:\n  name: {name}\n  labels:\n    app.kubernetes.io/name: setaccio\n\
                 spec:\n{indexed}  template:\n    spec:\n      restartPolicy: Never\n      # TERM stops it cleanly; what is done stays done.\n      \
                 terminationGracePeriodSeconds: 120\n      containers:\n        - name: setaccio\n          image: {image}\n          \
                 command:\n{command}\n          env:\n            # `setaccio pull` brought all that is asked for.\n            \
                 - name: HF_HUB_OFFLINE\n              value: \"1\"\n          resources:\n            requests:\n              cpu: \
                 \"{cpus}\"\n              memory: {memory}Mi\n            limits:\n              memory: {memory}Mi\n          \
                 volumeMounts:\n            - name: work\n              mountPath: {mounted}\n      volumes:\n        - name: work\n          \
                 persistentVolumeClaim:\n            claimName: {claim}\n"
            )
        };
        let indexed = |of: usize| {
            format!(
                "  completionMode: Indexed\n  completions: {of}\n  parallelism: {of}\n  # What fails is tried again twice, and the others \
                 go on.\n  backoffLimitPerIndex: 2\n  maxFailedIndexes: {of}\n"
            )
        };
        let [each, join] = self.cpus;
        let (of, shares) = (self.of, usize::from(self.shares));
        let words = self.slices(&format!("auto/{of}"));
        let slices = job(SLICES, each, "The slices: pod I does slice I + 1.", &indexed(of), &words);
        let mut files = vec![("slices.yaml", slices)];
        if shares > 1 {
            let words = self.join(&format!("auto/{shares}"));
            let about = "Joins the slices, several pods together, once all are done.";
            files.push(("join.yaml", job(JOIN, join, about, &indexed(shares), &words)));
        }
        let about = "Publishes what was joined, or joins it.";
        files.push(("finish.yaml", job(FINISH, join, about, "  backoffLimit: 2\n", &self.finish())));
        let mut submit = "#!/bin/sh\n# One step after the other; needs Kubernetes 1.29 or later. What failed is submitted again by the same Jobs,\n# \
                          which are called by the recipe's name: delete them first (kubectl delete -f .).\nset \
                          -e\ncd \"$(dirname \"$0\")\"\n"
            .to_owned();
        for (step, (file, _)) in [SLICES, JOIN].iter().zip(&files[..files.len() - 1]) {
            let name = shell::word(&format!("job/{}", self.job(step)));
            // `kubectl wait` waits for one condition, and goes on waiting for a Job that failed.
            let _ = writeln!(
                submit,
                "kubectl apply -f {file}\nuntil kubectl get {name} -o jsonpath='{{.status.conditions[?(@.status==\"True\")].type}}' | \
                 grep -Eq 'Complete|Failed'; do sleep 10; done"
            );
            // What publishes does the rest of joining.
            if *step == SLICES {
                let _ = writeln!(submit, "kubectl wait --for=condition=complete --timeout=10s {name}");
            }
        }
        submit.push_str("kubectl apply -f finish.yaml\n");
        files.push(("submit.sh", submit));
        files
    }

    /// What `aws batch submit-job --cli-input-json` takes, and the commands that submit one after the other.
    pub fn aws_batch(&self, queue: &str, definition: &str) -> Vec<File> {
        let job = |step: &str, cpus: u16, words: Vec<String>, array: Option<usize>| {
            let mut job = json!({
                "jobName": self.job(step),
                "jobQueue": queue,
                "jobDefinition": definition,
                "retryStrategy": {"attempts": 3},
                "containerOverrides": {
                    "command": words,
                    "environment": [{"name": "HF_HUB_OFFLINE", "value": "1"}],
                    "resourceRequirements": [
                        {"type": "VCPU", "value": cpus.to_string()},
                        {"type": "MEMORY", "value": self.memory.to_string()},
                    ],
                },
            });
            if let (Some(size), Value::Object(job)) = (array, &mut job) {
                job.insert("arrayProperties".to_owned(), json!({"size": size}));
            }
            format!("{job:#}\n")
        };
        // There are no arrays of one.
        let slices = if self.of > 1 {
            job(SLICES, self.cpus[0], self.slices("auto"), Some(self.of))
        } else {
            job(SLICES, self.cpus[0], self.slices("1/1"), None)
        };
        let mut files = vec![("slices.json", slices)];
        if self.shares > 1 {
            files.push(("join.json", job(JOIN, self.cpus[1], self.join("auto"), Some(self.shares.into()))));
        }
        files.push(("finish.json", job(FINISH, self.cpus[1], self.finish(), None)));
        let mut submit = "#!/bin/sh\n# One step after the other.\nset -e\ncd \"$(dirname \"$0\")\"\n".to_owned();
        let mut after = "";
        for (file, _) in &files {
            let _ = writeln!(
                submit,
                "job=$(aws batch submit-job --cli-input-json file://{file}{after} --query jobId --output text)"
            );
            after = " --depends-on jobId=\"$job\"";
        }
        files.push(("submit.sh", submit));
        files
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(command: &[String]) -> Parts<'_> {
        Parts { name: "Lab_it.", command, of: 40, shares: 1, cpus: [4, 16], memory: 4096 }
    }

    #[test]
    fn a_pod_does_one_slice() {
        let command = ["setaccio", "build", "/work/a \"b\".toml"].map(str::to_owned);
        let files = parts(&command).kubernetes("registry.example/setaccio:1", ("data", "/work"));
        let slices = &files[0].1;
        for line in [
            "  name: setaccio-lab-it-slices",
            "  completions: 40",
            "            - \"/work/a \\\"b\\\".toml\"",
            "            - \"auto/40\"",
            "              memory: 4096Mi",
            "              mountPath: \"/work\"",
        ] {
            assert!(slices.lines().any(|found| found == line), "{line} is not in\n{slices}");
        }
        assert!(!files[1].1.contains("completions") && files[1].1.contains("- \"--finish\""));
        assert!(files[2].1.contains("job/setaccio-lab-it-slices"));
        let files = Parts { shares: 8, ..parts(&command) }.kubernetes("registry.example/setaccio:1", ("data", "/work"));
        assert!(files[1].1.contains("completions: 8") && files[1].1.contains("- \"--finish=auto/8\""));
        let script = &files[3].1;
        assert_eq!(
            ["kubectl apply", "until kubectl get", "kubectl wait"].map(|word| script.matches(word).count()),
            [3, 2, 1]
        );
    }

    #[test]
    fn an_array_of_one_is_a_job() {
        let command = ["setaccio".to_owned()];
        let of = |of| {
            let files = Parts { of, ..parts(&command) }.aws_batch("queue", "definition");
            serde_json::from_str::<Value>(&files[0].1).unwrap_or_default()
        };
        assert_eq!(of(40)["arrayProperties"]["size"], 40);
        assert_eq!(of(40)["containerOverrides"]["command"][4], "auto");
        assert_eq!(of(1)["arrayProperties"], Value::Null);
        assert_eq!(of(1)["containerOverrides"]["command"][4], "1/1");
    }
}
