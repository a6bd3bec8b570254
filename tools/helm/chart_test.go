package helm

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"maps"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"
	"helm.sh/helm/v4/pkg/chart/common"
	"helm.sh/helm/v4/pkg/chart/common/util"
	"helm.sh/helm/v4/pkg/chart/v2/lint"
	"helm.sh/helm/v4/pkg/chart/v2/lint/support"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
	"helm.sh/helm/v4/pkg/engine"
	"helm.sh/helm/v4/pkg/strvals"
)

// manifest is what the tests read of a manifest of Kubernetes.
type manifest struct {
	APIVersion string `yaml:"apiVersion"`
	Kind       string
	Metadata   struct {
		Name        string
		Annotations map[string]string
	}
	Data map[string]string
	Spec struct {
		Replicas    int
		ServiceName string            `yaml:"serviceName"`
		ClusterIP   string            `yaml:"clusterIP"`
		Management  string            `yaml:"podManagementPolicy"`
		NotReady    bool              `yaml:"publishNotReadyAddresses"`
		Unavailable int               `yaml:"maxUnavailable"`
		Selector    yaml.Node         // its form depends on the kind
		Strategy    map[string]string // of a Deployment
		Ports       []port
		Template    struct{ Spec pod }
		Claims      []struct{ Spec map[string]any } `yaml:"volumeClaimTemplates"`
		JobTemplate struct {
			Spec struct{ Template struct{ Spec pod } }
		} `yaml:"jobTemplate"`
		Schedule     string
		Groups       []struct{ Rules []map[string]any }
		Endpoints    []struct{ Port, Path, Scheme string }
		PodEndpoints []struct{ Port, Path string } `yaml:"podMetricsEndpoints"`
	}
}

// port is a port of a service.
type port struct {
	Name       string
	TargetPort string `yaml:"targetPort"`
}

// pod is the spec of a pod.
type pod struct {
	Token           bool `yaml:"automountServiceAccountToken"`
	Grace           int  `yaml:"terminationGracePeriodSeconds"`
	Affinity        map[string]any
	SecurityContext struct {
		NonRoot bool `yaml:"runAsNonRoot"`
		User    int  `yaml:"runAsUser"`
	} `yaml:"securityContext"`
	Containers []struct {
		Image     string
		Args      []string
		Env       []map[string]any
		Ports     []struct{ Name string }
		Startup   probe `yaml:"startupProbe"`
		Liveness  probe `yaml:"livenessProbe"`
		Readiness probe `yaml:"readinessProbe"`
		Security  struct {
			ReadOnly   bool `yaml:"readOnlyRootFilesystem"`
			Escalation bool `yaml:"allowPrivilegeEscalation"`
		} `yaml:"securityContext"`
		Mounts []struct {
			Name string
			Path string `yaml:"mountPath"`
		} `yaml:"volumeMounts"`
	}
	Volumes []struct {
		Name   string
		Secret struct {
			Name string `yaml:"secretName"`
		}
	}
}

// probe is a probe of a container.
type probe struct {
	Get struct{ Path, Port, Scheme string } `yaml:"httpGet"`
}

const directory = "../../deploy/helm/lamplight"

// chart renders the chart with values as --set takes them, and returns the manifests as one text.
func chart(values ...string) (string, error) {
	c, err := loader.Load(directory)
	if err != nil {
		return "", err
	}
	given := map[string]any{}
	for _, v := range values {
		if err := strvals.ParseInto(v, given); err != nil {
			return "", err
		}
	}
	all, err := util.ToRenderValues(c, given, common.ReleaseOptions{Name: "prod", Namespace: "voice", Revision: 1, IsInstall: true}, common.DefaultCapabilities)
	if err != nil {
		return "", err
	}
	files, err := engine.Render(c, all)
	if err != nil {
		return "", err
	}
	text := ""
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if strings.HasSuffix(name, ".yaml") {
			text += "---\n" + files[name] + "\n"
		}
	}
	return text, nil
}

// render renders the chart and returns the manifests by kind and name.
func render(t *testing.T, values ...string) map[string]manifest {
	t.Helper()
	text, err := chart(values...)
	if err != nil {
		t.Fatalf("%v: %v", values, err)
	}
	all := map[string]manifest{}
	for d := yaml.NewDecoder(strings.NewReader(text)); ; {
		var node yaml.Node
		if err := d.Decode(&node); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatalf("%v: %v in\n%s", values, err, text)
		}
		var m manifest
		if err := node.Decode(&m); err != nil {
			t.Fatalf("%v: %v in\n%s", values, err, text)
		}
		if m.Kind == "" && len(node.Content) == 0 || node.Content[0].Tag == "!!null" {
			continue // nothing but comments
		}
		key := m.Kind + " " + m.Metadata.Name
		if _, twice := all[key]; twice || m.Kind == "" || m.APIVersion == "" || m.Metadata.Name == "" {
			t.Errorf("%v: %q of %q", values, key, m.APIVersion)
		}
		all[key] = m
	}
}

// binary builds lamplight as `make build` does, and returns its path.
func binary(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "lamplight")
	c := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w -X main.version=0.1.0", "-o", path, "./cmd/lamplight")
	c.Dir, c.Env = "../..", append(os.Environ(), "CGO_ENABLED=0")
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return path
}

// everything are values with which the chart renders all that it has.
var everything = []string{"nats.existingSecret=users", "http.tlsSecret=web", "edge.enabled=true", "edge.advertise=192.0.2.10", "backup.enabled=true",
	"serviceMonitor.enabled=true", "prometheusRule.enabled=true", "extraArgs={--rate-limit=100}"}

// The chart renders a cluster whose pods run with flags that lamplight takes, as nobody who may do anything, with one secret.
func TestChart(t *testing.T) {
	t.Parallel()
	program := binary(t)
	for _, m := range lint.RunAll(directory, nil, "voice").Messages {
		if m.Severity > support.InfoSev {
			t.Errorf("lint: %s", m)
		}
	}
	small, full := render(t), render(t, everything...)
	want := func(of map[string]manifest, keys ...string) {
		t.Helper()
		var got []string
		for key := range of {
			got = append(got, key)
		}
		slices.Sort(got)
		slices.Sort(keys)
		if !slices.Equal(got, keys) {
			t.Errorf("%q are rendered, want %q", got, keys)
		}
	}
	base := []string{"StatefulSet prod-lamplight", "Service prod-lamplight", "Service prod-lamplight-nodes", "Secret prod-lamplight-gossip", "PodDisruptionBudget prod-lamplight"}
	want(small, base...)
	want(full, append(base, "Service prod-lamplight-nats", "Deployment prod-lamplight-edge", "Service prod-lamplight-edge", "CronJob prod-lamplight-backup",
		"PersistentVolumeClaim prod-lamplight-backup", "ServiceMonitor prod-lamplight", "PodMonitor prod-lamplight-edge", "PrometheusRule prod-lamplight")...)
	for _, all := range []map[string]manifest{small, full} {
		checkNodes(t, all, program)
		for key, m := range all {
			for _, p := range []pod{m.Spec.Template.Spec, m.Spec.JobTemplate.Spec.Template.Spec} {
				if len(p.Containers) > 0 {
					checkPod(t, key, p)
				}
			}
		}
	}
	checkArgs(t, program, "edge", full["Deployment prod-lamplight-edge"].Spec.Template.Spec.Containers[0].Args)
	if s := full["Deployment prod-lamplight-edge"].Spec; s.Replicas != 1 || s.Strategy["type"] != "Recreate" {
		t.Errorf("two edges of one name could run: %+v", s)
	}
	job := full["CronJob prod-lamplight-backup"].Spec
	if args := job.JobTemplate.Spec.Template.Spec.Containers[0].Args; job.Schedule == "" || strings.Join(args, " ") != "backup create --dir=/backups --keep=14" {
		t.Errorf("the backup: %q %q", job.Schedule, args)
	}
	rules, err := os.ReadFile("../../deploy/prometheus/rules.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if got, inFile := len(full["PrometheusRule prod-lamplight"].Spec.Groups[0].Rules), strings.Count(string(rules), "- alert:"); got != inFile || got == 0 {
		t.Errorf("%d rules are rendered, and the file has %d", got, inFile)
	}
	if e := full["ServiceMonitor prod-lamplight"].Spec.Endpoints; len(e) != 1 || e[0].Port != "http" || e[0].Path != "/metrics" || e[0].Scheme != "https" {
		t.Errorf("what is scraped: %+v", e)
	}
	version, err := exec.Command(program, "version").Output()
	if err != nil || !strings.HasSuffix(small["StatefulSet prod-lamplight"].Spec.Template.Spec.Containers[0].Image, ":"+strings.TrimSpace(strings.TrimPrefix(string(version), "lamplight "))) {
		t.Errorf("the image is %s, and the release %s", small["StatefulSet prod-lamplight"].Spec.Template.Spec.Containers[0].Image, version)
	}
	one := render(t, "nodes=1", "gossip.existingSecret=mine", "antiAffinity=off")
	want(one, "StatefulSet prod-lamplight", "Service prod-lamplight", "Service prod-lamplight-nodes")
	checkNodes(t, one, program)
}

// checkPod wants a pod to run the program as nobody, with volumes for all mounts, and no image that changes under its name.
func checkPod(t *testing.T, key string, p pod) {
	t.Helper()
	c := p.Containers[0]
	if p.Token || !p.SecurityContext.NonRoot || p.SecurityContext.User != 10001 || !c.Security.ReadOnly || c.Security.Escalation {
		t.Errorf("%s may do more than run: %+v", key, p)
	}
	if !regexp.MustCompile(`^[a-z/]+:\d+\.\d+\.\d+$`).MatchString(c.Image) {
		t.Errorf("%s: the image is %s", key, c.Image)
	}
	for _, m := range c.Mounts {
		if m.Name != "data" && !slices.ContainsFunc(p.Volumes, func(v struct {
			Name   string
			Secret struct {
				Name string `yaml:"secretName"`
			}
		}) bool {
			return v.Name == m.Name
		}) {
			t.Errorf("%s: no volume %s", key, m.Name)
		}
	}
}

// checkNodes looks at the StatefulSet of the nodes and its services.
func checkNodes(t *testing.T, all map[string]manifest, program string) {
	t.Helper()
	set := all["StatefulSet prod-lamplight"].Spec
	p := set.Template.Spec
	c := p.Containers[0]
	nodes := all["Service "+set.ServiceName].Spec
	if nodes.ClusterIP != "None" || !nodes.NotReady || set.Management != "Parallel" {
		t.Errorf("the nodes do not find each other before they are ready: %+v", nodes)
	}
	if p.Grace < 40 {
		t.Errorf("a node has %d s to stop", p.Grace)
	}
	if c.Startup.Get.Path != "/healthz" || c.Liveness.Get.Path != "/healthz" || c.Readiness.Get.Path != "/readyz" || c.Readiness.Get.Port != "http" {
		t.Errorf("the probes: %+v", c)
	}
	flags := strings.Join(c.Args, " ")
	if secured := strings.Contains(flags, "--http-tls-cert"); secured != (c.Readiness.Get.Scheme == "HTTPS") {
		t.Errorf("the probes speak %s, and the flags are %s", c.Readiness.Get.Scheme, flags)
	}
	if set.Replicas == 3 {
		budget := all["PodDisruptionBudget prod-lamplight"].Spec
		if budget.Unavailable != 1 || p.Affinity["podAntiAffinity"] == nil || strings.Count(flags, ".prod-lamplight-nodes.voice.svc:7946") != 3 {
			t.Errorf("a cluster of three: %+v, %s", budget, flags)
		}
	}
	for _, s := range all {
		for _, port := range s.Spec.Ports {
			if s.Kind != "Service" || strings.HasPrefix(port.Name, "sip") {
				continue
			}
			if !slices.ContainsFunc(c.Ports, func(p struct{ Name string }) bool { return p.Name == port.TargetPort }) {
				t.Errorf("the service %s leads to the port %s, which no node has", s.Metadata.Name, port.TargetPort)
			}
		}
	}
	checkArgs(t, program, "serve", c.Args)
}

// checkArgs wants lamplight to take a command line of the chart. Files and names of the cluster are replaced by those of the test.
func checkArgs(t *testing.T, program, command string, args []string) {
	t.Helper()
	if len(args) == 0 || args[0] != command {
		t.Fatalf("the pod runs %q", args)
	}
	if command == "edge" { // which has no check of its own
		help, err := exec.Command(program, "help", "edge").CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, help)
		}
		for _, a := range args[1:] {
			if flag, _, _ := strings.Cut(a, "="); !regexp.MustCompile(flag + `[=\s]`).Match(help) {
				t.Errorf("lamplight edge has no flag %s", flag)
			}
		}
		return
	}
	dir := t.TempDir()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"gossip.key": strings.Repeat("k", 32), "nats.conf": "authorization { users: [{user: a, password: b}] }\n",
		"tls.crt": string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})), "tls.key": string(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: secret}))} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	check := []string{"check-config"}
	for _, a := range args[1:] {
		a = regexp.MustCompile(`/etc/lamplight/[a-z]+/`).ReplaceAllString(a, dir+"/")
		a = strings.ReplaceAll(a, "$(POD_NAME)", "prod-lamplight-0")
		check = append(check, strings.Replace(a, "--data=/data", "--data="+filepath.Join(dir, "data"), 1))
	}
	if out, err := exec.Command(program, check...).CombinedOutput(); err != nil {
		t.Errorf("%q: %v: %s", check, err, out)
	}
}

// Values with which the chart could not work are refused.
func TestChartRefuses(t *testing.T) {
	t.Parallel()
	for value, want := range map[string]string{"nodes=2": "nodes", "image.tag=latest": "tag", "edge.enabled=true": "nats.existingSecret", "backup.enabled=true": "nats.existingSecret",
		"extraArgs={rate-limit}": "extraArgs", "nods=3": "nods", "antiAffinity=maybe": "antiAffinity"} {
		if out, err := chart(value); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v: %s", value, err, out)
		}
	}
}

// What is secret is made once: the chart keeps the key of an installation.
func TestChartKeepsKey(t *testing.T) {
	t.Parallel()
	secret := render(t)["Secret prod-lamplight-gossip"]
	if secret.Metadata.Annotations["helm.sh/resource-policy"] != "keep" || len(secret.Data["gossip.key"]) != 44 { // 32 bytes in base64
		t.Errorf("%+v", secret)
	}
	text, err := os.ReadFile(filepath.Join(directory, "templates/secret.yaml"))
	if err != nil || !strings.Contains(string(text), "lookup") {
		t.Errorf("an upgrade makes another key: %v", err)
	}
}
