//! PVC names by template: the part of Go templates and Sprig that MTV's users write.

/// The variables of one disk.
pub(super) struct DiskVars<'a> {
    pub vm_name: &'a str,
    pub target_vm_name: &'a str,
    pub plan_name: &'a str,
    pub disk_index: usize,
    pub file_name: &'a str,
    /// Namespace and name of the claim that is copied, where the source is a cluster.
    pub source_claim: Option<(&'a str, &'a str)>,
}

/// Renders a template; an unknown variable or function is an error, as it is for MTV.
pub(super) fn render(template: &str, vars: &DiskVars<'_>) -> Result<String, String> {
    let mut out = String::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once("{{") {
        out.push_str(before);
        let (action, tail) = after.split_once("}}").ok_or("unclosed action")?;
        out.push_str(&pipeline(action.trim_matches('-').trim(), vars)?);
        rest = tail;
    }
    out.push_str(rest);
    Ok(out.trim().to_owned())
}

/// Splits outside of quotes.
fn split(text: &str, at: char) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut quoted = false;
    for c in text.chars() {
        quoted ^= c == '"';
        if c == at && !quoted {
            parts.push(String::new());
        } else if let Some(last) = parts.last_mut() {
            last.push(c);
        }
    }
    parts.into_iter().map(|p| p.trim().to_owned()).filter(|p| !p.is_empty()).collect()
}

fn pipeline(action: &str, vars: &DiskVars<'_>) -> Result<String, String> {
    let mut value: Option<String> = None;
    for command in split(action, '|') {
        let words = split(&command, ' ');
        let (head, arguments) = words.split_first().ok_or("empty command")?;
        let mut arguments: Vec<String> = arguments.iter().map(|a| operand(a, vars)).collect::<Result<_, _>>()?;
        arguments.extend(value.take());
        value = Some(if head.starts_with('.') || head.starts_with('"') {
            operand(head, vars)?
        } else {
            call(head, &arguments)?
        });
    }
    value.ok_or_else(|| "empty action".to_owned())
}

fn operand(word: &str, vars: &DiskVars<'_>) -> Result<String, String> {
    Ok(match word {
        ".VmName" => vars.vm_name.to_owned(),
        ".TargetVmName" => vars.target_vm_name.to_owned(),
        ".PlanName" => vars.plan_name.to_owned(),
        ".DiskIndex" => vars.disk_index.to_string(),
        ".FileName" => vars.file_name.to_owned(),
        ".SourcePVCNamespace" if vars.source_claim.is_some() => vars.source_claim.unwrap_or_default().0.to_owned(),
        ".SourcePVCName" if vars.source_claim.is_some() => vars.source_claim.unwrap_or_default().1.to_owned(),
        quoted if quoted.starts_with('"') => quoted.trim_matches('"').to_owned(),
        number if number.parse::<i64>().is_ok() => number.to_owned(),
        other => return Err(format!("unknown operand {other}")),
    })
}

fn call(name: &str, arguments: &[String]) -> Result<String, String> {
    let text = |i: usize| arguments.get(i).map(String::as_str).ok_or_else(|| format!("{name} wants more arguments"));
    Ok(match name {
        "lower" => text(0)?.to_lowercase(),
        "upper" => text(0)?.to_uppercase(),
        "trim" => text(0)?.trim().to_owned(),
        "trimSuffix" => text(1)?.strip_suffix(text(0)?).unwrap_or(text(1)?).to_owned(),
        "trimPrefix" => text(1)?.strip_prefix(text(0)?).unwrap_or(text(1)?).to_owned(),
        "replace" => text(2)?.replace(text(0)?, text(1)?),
        "trunc" => {
            let count: i64 = text(0)?.parse().map_err(|_| "trunc wants a number")?;
            let chars: Vec<char> = text(1)?.chars().collect();
            let size = usize::try_from(count.unsigned_abs()).unwrap_or(usize::MAX).min(chars.len());
            if count >= 0 { chars[..size].iter().collect() } else { chars[chars.len() - size..].iter().collect() }
        }
        other => return Err(format!("unknown function {other}")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_templates_render() {
        let vars = DiskVars {
            vm_name: "web-vm",
            target_vm_name: "web-vm",
            plan_name: "plan",
            disk_index: 2,
            file_name: "web_1.vmdk",
            source_claim: None,
        };
        assert_eq!(render("{{.VmName}}-disk-{{.DiskIndex}}", &vars).unwrap(), "web-vm-disk-2");
        assert_eq!(
            render("{{ .FileName | trimSuffix \".vmdk\" | replace \"_\" \"-\" }}-{{.DiskIndex}}", &vars).unwrap(),
            "web-1-2"
        );
        assert_eq!(
            render("{{ .VmName | trunc 3 | trimSuffix \"-\" }}-{{ .VmName | trunc -2 }}", &vars).unwrap(),
            "web-vm"
        );
        assert!(render("{{.Nothing}}", &vars).is_err());
    }
}
