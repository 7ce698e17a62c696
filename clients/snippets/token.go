// A user's token, with Go's standard library.
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log"
	"net/http"
	"os"
	"time"
)

func main() {
	body, _ := json.Marshal(map[string]any{"userId": "usr_1", "userRoles": []string{"user"}})
	request, err := http.NewRequest("POST", os.Getenv("SIGNET_URL")+"/token", bytes.NewReader(body))
	if err != nil {
		log.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+os.Getenv("SIGNET_API_KEY"))
	request.Header.Set("Content-Type", "application/json")
	client := http.Client{Timeout: 5 * time.Second}
	response, err := client.Do(request)
	if err != nil {
		log.Fatal(err)
	}
	defer response.Body.Close()
	var answer struct{ Token, Code, RequestId string }
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil {
		log.Fatal(err)
	}
	if response.StatusCode != http.StatusOK {
		log.Fatalf("no token: %d %s (request %s)", response.StatusCode, answer.Code, answer.RequestId)
	}
	fmt.Println(answer.Token)
}
