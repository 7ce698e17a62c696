// A token endpoint on Go's net/http with golang-jwt.
package main

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"log"
	"net/http"
	"os"
	"time"

	"github.com/golang-jwt/jwt"
)

const lifetime = 3600

type asked struct {
	UserID    string   `json:"userId"`
	UserEmail string   `json:"userEmail"`
	UserRoles []string `json:"userRoles"`
	Plan      string   `json:"plan"`
}

type claims struct {
	TenantID  string   `json:"tenantId"`
	UserID    string   `json:"userId"`
	UserEmail string   `json:"userEmail,omitempty"`
	UserRoles []string `json:"userRoles,omitempty"`
	Plan      string   `json:"plan,omitempty"`
	jwt.RegisteredClaims
}

type answer struct {
	Token        string `json:"token"`
	TokenType    string `json:"tokenType"`
	ExpiresIn    int64  `json:"expiresIn"`
	ExpiresAt    int64  `json:"expiresAt"`
	RefreshAfter int64  `json:"refreshAfter"`
}

func main() {
	clientID, secret := os.Getenv("CLIENT_ID"), []byte(os.Getenv("CLIENT_SECRET"))
	expected := sha256.Sum256([]byte("Bearer " + os.Getenv("API_KEY")))

	http.HandleFunc("/token", func(w http.ResponseWriter, r *http.Request) {
		presented := sha256.Sum256([]byte(r.Header.Get("Authorization")))
		if subtle.ConstantTimeCompare(presented[:], expected[:]) != 1 {
			http.Error(w, `{"error":"invalid_client"}`, http.StatusUnauthorized)
			return
		}
		var in asked
		if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 16<<10)).Decode(&in); err != nil || in.UserID == "" {
			http.Error(w, `{"error":"invalid_request"}`, http.StatusBadRequest)
			return
		}
		now := time.Now()
		expires := now.Add(lifetime * time.Second)
		token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, claims{
			clientID, in.UserID, in.UserEmail, in.UserRoles, in.Plan,
			jwt.RegisteredClaims{IssuedAt: jwt.NewNumericDate(now), ExpiresAt: jwt.NewNumericDate(expires)},
		}).SignedString(secret)
		if err != nil {
			http.Error(w, `{"error":"internal_error"}`, http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(answer{token, "Bearer", lifetime, expires.Unix(), lifetime * 9 / 10})
	})

	address := "127.0.0.1:" + os.Getenv("PORT")
	if certificate := os.Getenv("TLS_CERTIFICATE"); certificate != "" {
		log.Fatal(http.ListenAndServeTLS(address, certificate, os.Getenv("TLS_PRIVATE_KEY"), nil))
	}
	log.Fatal(http.ListenAndServe(address, nil))
}
