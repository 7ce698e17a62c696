// A user's token, with the HTTP client of Java 11 and later. `Accept` gets the bare token, so that no JSON library is needed.
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.time.Duration;

public class Token {
    public static void main(String[] arguments) throws Exception {
        HttpRequest request = HttpRequest.newBuilder(URI.create(System.getenv("SIGNET_URL") + "/token"))
            .timeout(Duration.ofSeconds(5))
            .header("Authorization", "Bearer " + System.getenv("SIGNET_API_KEY"))
            .header("Content-Type", "application/json")
            .header("Accept", "text/plain")
            .POST(HttpRequest.BodyPublishers.ofString("{\"userId\":\"usr_1\",\"userRoles\":[\"user\"]}"))
            .build();
        HttpResponse<String> response = HttpClient.newHttpClient().send(request, HttpResponse.BodyHandlers.ofString());
        if (response.statusCode() != 200) {
            throw new IllegalStateException("no token: " + response.statusCode() + " " + response.body());
        }
        System.out.println(response.body());
    }
}
