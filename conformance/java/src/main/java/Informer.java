import io.fabric8.kubernetes.api.model.ConfigMap;
import io.fabric8.kubernetes.api.model.ConfigMapBuilder;
import io.fabric8.kubernetes.api.model.GenericKubernetesResource;
import io.fabric8.kubernetes.api.model.NamespaceBuilder;
import io.fabric8.kubernetes.client.Config;
import io.fabric8.kubernetes.client.KubernetesClient;
import io.fabric8.kubernetes.client.KubernetesClientBuilder;
import io.fabric8.kubernetes.client.dsl.base.ResourceDefinitionContext;
import io.fabric8.kubernetes.client.informers.ResourceEventHandler;
import io.fabric8.kubernetes.client.informers.SharedIndexInformer;
import java.io.File;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;

/** Informers of a native and of one of MTV's kinds, while objects come, change and go. Prints a line a step. */
public class Informer {
    static <T extends io.fabric8.kubernetes.api.model.HasMetadata> BlockingQueue<String> told(SharedIndexInformer<T> informer) {
        BlockingQueue<String> told = new LinkedBlockingQueue<>();
        informer.addEventHandler(new ResourceEventHandler<T>() {
            public void onAdd(T object) { told.add("added " + object.getMetadata().getName()); }
            public void onUpdate(T before, T after) {
                if (!before.getMetadata().getResourceVersion().equals(after.getMetadata().getResourceVersion())) {
                    told.add("changed " + after.getMetadata().getName());
                }
            }
            public void onDelete(T object, boolean unknown) { told.add("deleted " + object.getMetadata().getName()); }
        });
        return told;
    }

    static void expect(BlockingQueue<String> told, String wanted) throws InterruptedException {
        for (String line; (line = told.poll(20, TimeUnit.SECONDS)) != null; ) {
            if (line.equals(wanted)) {
                System.out.println(line);
                return;
            }
        }
        System.err.println("not told: " + wanted);
        System.exit(1);
    }

    public static void main(String[] args) throws Exception {
        Config config = Config.fromKubeconfig(new File(args[0]));
        try (KubernetesClient client = new KubernetesClientBuilder().withConfig(config).build()) {
            System.out.println("version " + client.getKubernetesVersion().getMajor());
            String namespace = "java-informer";
            client.resource(new NamespaceBuilder().withNewMetadata().withName(namespace).endMetadata().build()).create();
            ResourceDefinitionContext plans = new ResourceDefinitionContext.Builder()
                .withGroup("forklift.konveyor.io").withVersion("v1beta1").withKind("Plan").withPlural("plans").withNamespaced(true).build();
            SharedIndexInformer<ConfigMap> maps = client.configMaps().inNamespace(namespace).inform();
            SharedIndexInformer<GenericKubernetesResource> ofPlans =
                client.genericKubernetesResources(plans).inNamespace(namespace).inform();
            BlockingQueue<String> mapsTold = told(maps);
            BlockingQueue<String> plansTold = told(ofPlans);
            ConfigMap map = new ConfigMapBuilder().withNewMetadata().withName("settings").endMetadata().addToData("a", "1").build();
            client.configMaps().inNamespace(namespace).resource(map).create();
            expect(mapsTold, "added settings");
            client.configMaps().inNamespace(namespace).withName("settings").edit(own -> new ConfigMapBuilder(own).addToData("a", "2").build());
            expect(mapsTold, "changed settings");
            String plan = "{\"apiVersion\":\"forklift.konveyor.io/v1beta1\",\"kind\":\"Plan\",\"metadata\":{\"name\":\"p\"},\"spec\":{"
                + "\"targetNamespace\":\"x\",\"provider\":{\"source\":{},\"destination\":{}},\"map\":{\"network\":{},\"storage\":{}},\"vms\":[]}}";
            client.genericKubernetesResources(plans).inNamespace(namespace)
                .load(new java.io.ByteArrayInputStream(plan.getBytes("UTF-8"))).create();
            expect(plansTold, "added p");
            client.genericKubernetesResources(plans).inNamespace(namespace).withName("p").delete();
            expect(plansTold, "deleted p");
            client.configMaps().inNamespace(namespace).withName("settings").delete();
            expect(mapsTold, "deleted settings");
            client.namespaces().withName(namespace).delete();
        }
        System.exit(0);
    }
}
