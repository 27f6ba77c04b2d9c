# vLLM's router, for deploy/kubernetes.yaml. The program of this version was tested before two vLLM servers; the image was not built by us.
#   docker build -t vllm-router -f deploy/router.Dockerfile deploy
FROM python:3.13-slim

RUN useradd --create-home router && pip install --no-cache-dir vllm-router==0.1.17
USER router
EXPOSE 8000
ENTRYPOINT ["vllm-router"]
