# What the commands of the documents find, as the steps of settings.rs name it.
set -euo pipefail

# Whose kubeconfig it is.
as() {
  kubectl config use-context "$1"
  kubectl config set-context --current --namespace shop
}

# Nothing is requested, and nothing is held.
cleared() {
  kubectl --context admin -n shop delete areq --all
}

# A request of alice's waits for bob.
pending() {
  cleared
  beside "$@"
}
beside() {
  # Again where admission was just changed, and does not answer yet.
  until kubectl jit --context alice -n shop request edit --for "${2:-1h}" --reason 'The checkout fails' --name "$1"; do
    sleep 0.5
  done
  kubectl --context alice -n shop wait "areq/$1" --for=condition=Evaluated --timeout=1m
}

# Bob has approved it.
held() {
  pending "$@"
  kubectl jit --context bob -n shop approve "$1"
  kubectl --context alice -n shop wait "areq/$1" --for=condition=Granted --timeout=1m
}

# Its grant.
of_fix_checkout() {
  grant=$(kubectl --context admin get grants -o jsonpath='{.items[?(@.status.phase=="Active")].metadata.name}')
}

# Bob approves whatever comes, until this is over.
approved_by_bob() {
  while kill -0 $$; do
    kubectl jit --context bob -n shop approve --all --yes
    sleep 0.2
  done > /dev/null 2>&1 &
}

# Alice has had access in an emergency, which carol reviews.
fire() {
  kubectl jit --context alice -n shop request edit --emergency --reason 'Nobody can pay' --name fire --wait
}
reviewed_by_carol() {
  kubectl() {
    if [ "$1 $2" = 'jit review' ]; then
      shift
      command kubectl jit --context carol -n shop "$@"
    else
      command kubectl "$@"
    fi
  }
}

# The files that commands name.
files() {
  kubectl --context admin get jp shop-debug -o yaml > shop.yaml
  cp examples/manager-approval/policy.yaml freeze.yaml
  sed '/generateName/s/generateName: .*/generateName: reviewed-/' examples/requests/edit-shop.yaml > request.yaml
}
audit_logs() {
  cp "$AUDIT_LOG" audit.log
  cp "$AUDIT_LOG" audit-2026-11-29.log
}
values() {
  helm get values lapse --namespace lapse-system --output yaml > my-values.yaml
}

# Keys are not thrown away here.
dry() {
  kubectl() {
    case " $* " in
      *' patch '*) command kubectl "$@" --dry-run=server ;;
      *) command kubectl "$@" ;;
    esac
  }
}
of_the_keys() {
  key=$(command kubectl -n lapse-system get configmap lapse-attestation-keys -o go-template='{{range $key, $_ := .data}}{{$key}} {{end}}')
  key=${key%% *}
}

# Lapse is installed already.
helm() {
  if [ "$1" = install ]; then
    command helm "$@" --dry-run=client
  else
    command helm "$@"
  fi
}
