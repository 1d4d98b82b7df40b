// A scanner in one page: who may read secrets through this binding, and which
// workload runs as that identity? It writes an alert as JSON.
// usage: node scan.mjs SERVER BINDING   (ADMIN_TOKEN, NODE_EXTRA_CA_CERTS)
const [server, name] = process.argv.slice(2);
const get = async (path) => {
  const r = await fetch(server + path, { headers: { authorization: `Bearer ${process.env.ADMIN_TOKEN}` } });
  if (!r.ok) throw new Error(`${path}: ${r.status}`);
  return r.json();
};
const binding = await get(`/apis/rbac.authorization.k8s.io/v1/clusterrolebindings/${name}`);
const role = await get(`/apis/rbac.authorization.k8s.io/v1/clusterroles/${binding.roleRef.name}`);
const subject = binding.subjects.find((s) => s.kind === 'ServiceAccount');
const deployments = await get(`/apis/apps/v1/namespaces/${subject.namespace}/deployments`);
const workload = deployments.items.find((d) => d.spec.template.spec.serviceAccountName === subject.name);
const labels = workload.metadata.labels;
const uid = `ServiceAccount/${subject.namespace}/${subject.name}`;
console.log(JSON.stringify({
  source: 'rbac.audit', native_id: `${name}|${uid}`, rule: 'secrets-beyond-need', severity: 'high', confidence: 95,
  title: `Service account ${subject.name} may read every secret`, class: 'identity.overprivilege',
  asset: { uid, type: 'service-account', provider: 'kubernetes', name: `${subject.namespace}/${subject.name}`, app: labels.app, environment: labels.environment,
    customer_facing: labels.tier === 'public' ? 'yes' : 'no', tags: { owner: labels.owner } },
  exposure: { internet_facing: labels.tier === 'public' ? 'yes' : 'no', blast: 1 },
  identity: { principal: uid, kind: 'service_account' },
  evidence: [{ name: 'binding', value: name }, { name: 'role', value: `${role.metadata.name}: ${role.rules.map((r) => `${r.verbs} ${r.resources}`)}` },
    { name: 'workload', value: `Deployment/${workload.metadata.namespace}/${workload.metadata.name}` }],
  params: { binding: `ClusterRoleBinding/${name}`, risky: `list secrets ${subject.namespace}`, needs: `list configmaps ${subject.namespace}` },
}));
